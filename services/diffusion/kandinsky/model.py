"""Kandinsky 2.1: encode a prompt and sample the diffusion prior, with gradient; `decoder.py` makes the pictures."""

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from services.bounds import STRENGTH
from services.checkpoints import check_equal, check_spaces
from services.diffusion.kandinsky.decoder import Decoder, Generators
from services.diffusion.kandinsky.encoding import Encoding, Tokens
from services.diffusion.kandinsky.graphs import Graphs
from services.diffusion.kandinsky.multilingual_clip import empty_prompt
from services.diffusion.kandinsky.prior import Sampler
from services.diffusion.runtime.checkpoint import (
    checkpoint_folder,
    load_config,
    load_defaults,
    load_model,
)
from services.diffusion.runtime.fingerprint import Keep, anew, fingerprint_of
from services.errors import PromptError

END = "<|endoftext|>"  # pads, since what pads is no text: the published tokenizer pads with "!", here a word again


@dataclass(frozen=True, eq=False)
class Kandinsky:
    """The frozen parts on one device."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModelWithProjection
    image_processor: CLIPImageProcessor
    image_encoder: CLIPVisionModelWithProjection
    prior: PriorTransformer
    scheduler: UnCLIPScheduler
    decoder: Decoder
    guidance_scale: float
    fingerprint: str

    @classmethod
    def load(cls, prior: str, decoder: str, *, device: str, dtype: torch.dtype, keep: Keep = anew) -> "Kandinsky":
        """Load two folders or hub names laid out as kandinsky-2-1-prior and kandinsky-2-1 are.

        `keep` has what takes long and comes out the same every time: the fingerprint, and the encoded empty prompt.
        Raises CheckpointError with one sentence for a missing, incomplete or corrupt file, and for parts of different
        spaces.
        """
        folder, decoder_folder = checkpoint_folder(prior), checkpoint_folder(decoder)
        check_spaces(folder, decoder_folder)
        fingerprint = fingerprint_of(folder, decoder_folder, keep=keep)
        prompt = partial(empty_prompt, decoder_folder, keep, fingerprint)
        image_encoder = load_model(CLIPVisionModelWithProjection, folder, "image_encoder", device, dtype)
        model = cls(
            tokenizer=load_config(CLIPTokenizer, folder, "tokenizer", pad_token=END),
            text_encoder=load_model(CLIPTextModelWithProjection, folder, "text_encoder", device, dtype),
            image_processor=load_config(CLIPImageProcessor, folder, "image_processor"),
            image_encoder=image_encoder,
            prior=load_model(PriorTransformer, folder, "prior", device, dtype),
            scheduler=load_config(UnCLIPScheduler, folder, "scheduler"),
            decoder=Decoder.load(decoder_folder, image_encoder, prompt, device=device, dtype=dtype),
            guidance_scale=load_defaults(folder, {"guidance_scale": 4.0})["guidance_scale"],
            fingerprint=fingerprint,
        )
        dimensions = [
            (folder / "text_encoder", model.text_encoder.config.projection_dim),
            (folder / "prior", model.prior.config.embedding_dim),
            (folder / "image_encoder", image_encoder.config.projection_dim),
            (decoder_folder / "unet", model.decoder.unet.config.cross_attention_dim),
        ]
        check_equal("dimension", dimensions)
        return model

    @property
    def device(self) -> torch.device:
        return torch.device(self.prior.device)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.prior.dtype
        return dtype

    def knows(self, image_embeds: Float[Tensor, "dim"], model: str | None) -> bool:
        """Whether an embedding is in this model's space: by the fingerprint of the model that it came of, or, where
        that was not noted, by its dimension."""
        return len(image_embeds) == self.prior.config.embedding_dim if model is None else model == self.fingerprint

    def tokenize(self, prompt: str) -> Tokens:
        """Pad to the encoder's length, as KandinskyPriorPipeline does; what that would cut is a PromptError."""
        limit = self.tokenizer.model_max_length
        output = self.tokenizer(
            prompt, padding="max_length", max_length=limit, return_offsets_mapping=True, return_tensors="pt"
        )
        spans = [(int(begin), int(end)) for begin, end in output.offset_mapping[0]]
        if len(spans) > limit:
            lost = prompt[prompt.rfind(" ", 0, spans[limit - 1][0] + 1) + 1 :]
            raise PromptError(f"the text encoder reads {limit} tokens of {len(spans)}; lost would be: ‘{lost}’")
        return Tokens(output.input_ids.to(self.device), output.attention_mask.bool().to(self.device), spans)

    @torch.no_grad()
    def encode_prompt(self, prompt: str) -> Encoding:
        """The encoding of one prompt, one row, without gradient."""
        tokens = self.tokenize(prompt)
        output = self.text_encoder(tokens.ids)
        return Encoding(output.text_embeds, output.last_hidden_state, tokens.mask)

    def encode(
        self, tokens: Tokens, places: Int[Tensor, "places"], vectors: Float[Tensor, "rows places width"]
    ) -> Encoding:
        """The encoding of tokens without padding, each row with vectors of its own at `places`; differentiable."""
        text, rows = self.text_encoder.text_model, len(vectors)
        words = text.embeddings.token_embedding(tokens.ids).expand(rows, -1, -1)
        words = words.index_copy(1, places, vectors.to(words.dtype))
        x = text.embeddings(inputs_embeds=words)
        x = text.final_layer_norm(text.encoder(x, attention_mask=None, is_causal=True).last_hidden_state)
        return Encoding(self.text_encoder.text_projection(x[:, -1]), x, tokens.mask.expand(rows, -1))

    @cached_property
    def unconditional(self) -> Encoding:
        """The encoding of the empty prompt, one row."""
        return self.encode_prompt("")

    @torch.no_grad()
    def embed_image(self, image: Image.Image) -> Float[Tensor, "dim"]:
        """The CLIP embedding of a picture, float32, in the space that the prior samples."""
        pixels = self.image_processor(images=image.convert("RGB"), return_tensors="pt").pixel_values
        image_embeds: Tensor = self.image_encoder(pixels.to(self.device, self.dtype)).image_embeds
        return image_embeds[0].float()

    @cached_property
    def sampler(self) -> Sampler:
        """The prior with all that is the same in every sample."""
        return Sampler(self.prior, self.scheduler, self.guidance_scale, self.unconditional)

    @cached_property
    def graphs(self) -> Graphs:
        """The sampler's steps as CUDA graphs, for the numbers of rows that were captured."""
        return Graphs(self.sampler)

    def sample_prior(
        self,
        positive: Encoding,
        generators: Generators,
        batch: int,
        *,
        start: Float[Tensor, "dim"] | None = None,
        strength: float = STRENGTH,
        cached: bool = False,
    ) -> Float[Tensor, "batch dim"]:
        """`batch` image embeddings, with gradient; bit-identical to KandinskyPriorPipeline for the same generators.

        `start` is where `Sampler.noise` takes it, and `strength` how far from it they go, 0 to 1. `cached` runs the
        prompt once instead of in every step, which is several times faster and equal to within rounding.
        """
        schedule = self.sampler.schedule(start, strength)
        noise = self.sampler.noise(generators, batch, start, schedule)
        sample = self.sampler.sample if cached else self.sampler.sample_exactly
        return sample(positive, noise, schedule)
