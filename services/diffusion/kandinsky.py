"""Kandinsky 2.1: encode a prompt and sample the diffusion prior, with gradient; `decoder.py` makes the pictures."""

from dataclasses import dataclass

import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from services.diffusion.checkpoint import checkpoint_folder, fingerprint_of, load_config, load_defaults, load_model
from services.diffusion.decoder import Decoder, Generators, guide

PRIOR_STEPS = 5


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


@dataclass(frozen=True, eq=False)
class Kandinsky:
    """The frozen parts on one device."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModelWithProjection
    prior: PriorTransformer
    scheduler: UnCLIPScheduler
    decoder: Decoder
    guidance_scale: float
    fingerprint: str

    @classmethod
    def load(cls, prior: str, decoder: str, *, device: str, dtype: torch.dtype) -> "Kandinsky":
        """Load two folders or hub names laid out as kandinsky-2-1-prior and kandinsky-2-1 are.

        Raises CheckpointError with one sentence for a missing, incomplete or corrupt file.
        """
        folder, decoder_folder = checkpoint_folder(prior), checkpoint_folder(decoder)
        return cls(
            tokenizer=load_config(CLIPTokenizer, folder, "tokenizer"),
            text_encoder=load_model(CLIPTextModelWithProjection, folder, "text_encoder", device, dtype),
            prior=load_model(PriorTransformer, folder, "prior", device, dtype),
            scheduler=load_config(UnCLIPScheduler, folder, "scheduler"),
            decoder=Decoder.load(decoder_folder, folder, device=device, dtype=dtype),
            guidance_scale=load_defaults(folder, {"guidance_scale": 4.0})["guidance_scale"],
            fingerprint=fingerprint_of(folder, decoder_folder),
        )

    @property
    def device(self) -> torch.device:
        return torch.device(self.prior.device)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.prior.dtype
        return dtype

    def tokenize(self, prompt: str) -> Tokens:
        """Pad to the encoder's length, as KandinskyPriorPipeline does; what is too long is cut."""
        output = self.tokenizer(
            prompt,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        spans = [(int(begin), int(end)) for begin, end in output.offset_mapping[0]]
        return Tokens(output.input_ids.to(self.device), output.attention_mask.bool().to(self.device), spans)

    def encode(self, tokens: Tokens, batch: int = 1) -> Encoding:
        """Run the text encoder on `batch` rows of the same tokens; differentiable in what a hook splices in."""
        output = self.text_encoder(tokens.ids.expand(batch, -1))
        return Encoding(output.text_embeds, output.last_hidden_state, tokens.mask.expand(batch, -1))

    @torch.no_grad()
    def encode_prompt(self, prompt: str) -> Encoding:
        """The encoding of one prompt, one row, without gradient."""
        return self.encode(self.tokenize(prompt))

    def sample_prior(self, positive: Encoding, generators: Generators, batch: int) -> Float[Tensor, "batch dim"]:
        """`batch` image embeddings in PRIOR_STEPS guided steps of unCLIP's prior (arXiv 2204.06125), with gradient.

        Bit-identical to KandinskyPriorPipeline for the same generators; the unconditional rows go first.
        """
        guided = self.guidance_scale > 1
        condition = self._condition(positive.expand(batch), guided)
        self.scheduler.set_timesteps(PRIOR_STEPS, device=self.device)
        timesteps = self.scheduler.timesteps
        shape = (batch, self.prior.config.embedding_dim)
        latents = randn_tensor(shape, generator=generators, device=self.device, dtype=self.dtype)
        latents = latents * self.scheduler.init_noise_sigma
        for t, previous in zip(timesteps, [*timesteps[1:], None], strict=True):
            rows = torch.cat([latents] * 2) if guided else latents
            predicted = self.prior(rows, timestep=t, **condition).predicted_image_embedding
            if guided:
                predicted = guide(predicted, self.guidance_scale)
            step = self.scheduler.step(predicted, t, latents, prev_timestep=previous, generator=generators)
            latents = step.prev_sample
        image_embeds: Tensor = self.prior.post_process_latents(latents)
        return image_embeds

    def _condition(self, positive: Encoding, guided: bool) -> dict[str, Tensor]:
        parts = [positive]
        if guided:
            parts.insert(0, self.encode_prompt("").expand(len(positive.text_embeds)))
        return {
            "proj_embedding": torch.cat([part.text_embeds for part in parts]),
            "encoder_hidden_states": torch.cat([part.hidden_states for part in parts]),
            "attention_mask": torch.cat([part.mask for part in parts]),
        }
