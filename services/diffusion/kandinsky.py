"""Kandinsky 2.1: encode a prompt and sample the diffusion prior, with gradient; `decoder.py` makes the pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from services.diffusion.checkpoint import (
    check_equal,
    check_spaces,
    checkpoint_folder,
    load_config,
    load_defaults,
    load_model,
)
from services.diffusion.decoder import Decoder, Generators, guide
from services.diffusion.fingerprint import Keep, anew, fingerprint_of
from services.diffusion.multilingual_clip import empty_prompt
from services.diffusion.prefix import predict, prefix_of
from services.errors import PromptError

PRIOR_STEPS = 5
START_STEP = 2  # a given picture enters the prior's steps here, half noise
END = "<|endoftext|>"  # pads, since what pads is no text: the published tokenizer pads with "!", here a word again

Predict = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Tokens:
    """A prompt as the text encoder takes it; `spans` are the characters that each token stands for."""

    ids: Int[Tensor, "1 tokens"]
    mask: Bool[Tensor, "1 tokens"]
    spans: list[tuple[int, int]]


@dataclass(frozen=True)
class Encoding:
    """What the prior is conditioned on."""

    text_embeds: Float[Tensor, "batch dim"]
    hidden_states: Float[Tensor, "batch tokens width"]
    mask: Bool[Tensor, "batch tokens"]

    def expand(self, batch: int) -> "Encoding":
        """One row repeated `batch` times; `batch` rows as they are."""
        return Encoding(
            self.text_embeds.expand(batch, -1), self.hidden_states.expand(batch, -1, -1), self.mask.expand(batch, -1)
        )

    @classmethod
    def cat(cls, parts: list["Encoding"]) -> "Encoding":
        """All rows of the parts, in order."""
        columns = zip(*((part.text_embeds, part.hidden_states, part.mask) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))


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

    def encode(self, tokens: Tokens, batch: int = 1) -> Encoding:
        """Run the text encoder on `batch` rows of the same tokens; differentiable in what a hook splices in."""
        output = self.text_encoder(tokens.ids.expand(batch, -1))
        return Encoding(output.text_embeds, output.last_hidden_state, tokens.mask.expand(batch, -1))

    @torch.no_grad()
    def encode_prompt(self, prompt: str) -> Encoding:
        """The encoding of one prompt, one row, without gradient."""
        return self.encode(self.tokenize(prompt))

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

    def sample_prior(
        self,
        positive: Encoding,
        generators: Generators,
        batch: int,
        *,
        start: Float[Tensor, "dim"] | None = None,
        cached: bool = False,
    ) -> Float[Tensor, "batch dim"]:
        """`batch` image embeddings in PRIOR_STEPS guided steps of unCLIP's prior (arXiv 2204.06125), with gradient.

        Bit-identical to KandinskyPriorPipeline for the same generators; the unconditional rows go first. `start`, a
        picture's embedding, takes the place of the first START_STEP steps (SDEdit, arXiv 2108.01073). `cached` runs
        the prompt once instead of in every step, which is several times faster and equal to within rounding.
        """
        guided = self.guidance_scale > 1
        predicted_by = (self._cached if cached else self._exact)(positive, batch, guided)
        self.scheduler.set_timesteps(PRIOR_STEPS, device=self.device)
        timesteps = self.scheduler.timesteps
        shape = (batch, self.prior.config.embedding_dim)
        latents = randn_tensor(shape, generator=generators, device=self.device, dtype=self.dtype)
        latents = latents * self.scheduler.init_noise_sigma
        if start is not None:
            timesteps = timesteps[START_STEP:]
            clean = (start.to(latents) - self.prior.clip_mean) / self.prior.clip_std
            latents = self.scheduler.add_noise(clean.expand(batch, -1), latents, timesteps[:1])
        for t, previous in zip(timesteps, [*timesteps[1:], None], strict=True):
            predicted = predicted_by(torch.cat([latents] * 2) if guided else latents, t)
            if guided:
                predicted = guide(predicted, self.guidance_scale)
            step = self.scheduler.step(predicted, t, latents, prev_timestep=previous, generator=generators)
            latents = step.prev_sample
        image_embeds: Tensor = self.prior.post_process_latents(latents)
        return image_embeds

    def _exact(self, positive: Encoding, batch: int, guided: bool) -> Predict:
        parts = [positive.expand(batch)]
        if guided:
            parts.insert(0, self.unconditional.expand(batch))
        both = Encoding.cat(parts)
        condition = {
            "proj_embedding": both.text_embeds,
            "encoder_hidden_states": both.hidden_states,
            "attention_mask": both.mask,
        }
        return lambda latents, t: self.prior(latents, timestep=t, **condition).predicted_image_embedding

    def _cached(self, positive: Encoding, batch: int, guided: bool) -> Predict:
        own = [0] * batch if len(positive.text_embeds) == 1 else list(range(batch))
        if guided:
            positive = Encoding.cat([self.unconditional, positive])
            own = [0] * batch + [1 + row for row in own]
        prefix = prefix_of(self.prior, positive.text_embeds, positive.hidden_states, positive.mask).rows(own)
        return lambda latents, t: predict(self.prior, prefix, latents, t)
