"""Kandinsky 2.1: encode a prompt and sample the diffusion prior, with gradient; `decoder.py` makes the pictures."""

from dataclasses import dataclass

import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from services.diffusion.checkpoint import checkpoint_folder, fingerprint_of, load_config, load_model
from services.diffusion.decoder import Decoder, Generators, guide

PRIOR_STEPS = 5
PRIOR_GUIDANCE = 4.0


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
        condition = self._condition(positive.expand(batch), self.encode_prompt("").expand(batch))
        self.scheduler.set_timesteps(PRIOR_STEPS, device=self.device)
        timesteps = self.scheduler.timesteps
        shape = (batch, self.prior.config.embedding_dim)
        latents = randn_tensor(shape, generator=generators, device=self.device, dtype=self.dtype)
        latents = latents * self.scheduler.init_noise_sigma
        for t, previous in zip(timesteps, [*timesteps[1:], None], strict=True):
            predicted = self.prior(torch.cat([latents] * 2), timestep=t, **condition).predicted_image_embedding
            step = self.scheduler.step(
                guide(predicted, PRIOR_GUIDANCE), t, latents, prev_timestep=previous, generator=generators
            )
            latents = step.prev_sample
        image_embeds: Tensor = self.prior.post_process_latents(latents)
        return image_embeds

    @staticmethod
    def _condition(positive: Encoding, negative: Encoding) -> dict[str, Tensor]:
        return {
            "proj_embedding": torch.cat([negative.text_embeds, positive.text_embeds]),
            "encoder_hidden_states": torch.cat([negative.hidden_states, positive.hidden_states]),
            "attention_mask": torch.cat([negative.mask, positive.mask]),
        }
