"""Kandinsky's decoder: a U-Net conditioned on image embeddings, and MoVQ from its latents to pixels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel, VQModel
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from services.diffusion.kandinsky.spatial_norm import with_latent_norms
from services.diffusion.runtime.checkpoint import described, load_config, load_defaults, load_model
from services.errors import DecodingError
from services.sizes import Size, sides_of, size_of

OnStep = Callable[[int, int], None]
Generators = torch.Generator | list[torch.Generator]


def noise_of(seeds: list[int]) -> list[torch.Generator]:
    """A generator per row on the CPU, so that a row's noise depends neither on its neighbours nor on the device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@dataclass(frozen=True)
class Constants:
    """What the U-Net sees beside the image embedding: the encoded empty prompt, and the embedding of no image."""

    prompt_embeds: Float[Tensor, "1 dim"]
    text_encoder_hidden_states: Float[Tensor, "1 tokens width"]
    negative_image_embeds: Float[Tensor, "1 dim"]


@dataclass(frozen=True)
class DecodeSettings:
    """How an image embedding is decoded; `size` is in pixels."""

    size: Size
    num_inference_steps: int
    guidance_scale: float


@dataclass(frozen=True, eq=False)
class Decoder:
    """The frozen parts on one device."""

    unet: UNet2DConditionModel
    movq: VQModel
    scheduler: DDIMScheduler
    constants: Constants
    defaults: DecodeSettings
    candidate: DecodeSettings
    guidance_learnt: bool = False

    @classmethod
    def load(
        cls,
        folder: Path,
        image_encoder: CLIPVisionModelWithProjection,
        empty_prompt: Callable[[], dict[str, Tensor]],
        *,
        device: str,
        dtype: torch.dtype,
    ) -> "Decoder":
        """Load a folder laid out as kandinsky-2-1 is; the constants need the prior's image encoder.

        `empty_prompt` is what a checkpoint without constants.safetensors is asked for.
        """
        # Convolutions are a fifth to a third faster with the channels last.
        unet = load_model(UNet2DConditionModel, folder, "unet", device, dtype).to(memory_format=torch.channels_last)
        movq = with_latent_norms(load_model(VQModel, folder, "movq", device, dtype))
        movq = movq.to(memory_format=torch.channels_last)
        scheduler = load_config(DDIMScheduler, folder, "scheduler")
        constants = _constants(folder, image_encoder, empty_prompt, device, dtype)
        return cls(unet, movq, scheduler, constants, *_defaults(folder, unet, movq))

    @torch.no_grad()
    def decode(
        self,
        image_embeds: Float[Tensor, "batch dim"],
        generators: Generators,
        settings: DecodeSettings,
        on_step: OnStep,
    ) -> list[Image.Image]:
        """Decode to pictures; `on_step(step, steps)` after each, and may raise to stop.

        KandinskyPipeline's for the empty prompt and the same generators, but for rounding.
        """
        latents = self._noise(len(image_embeds), settings.size, generators)
        guidance_scale = 1.0 if self.guidance_learnt else settings.guidance_scale
        condition = self._condition(image_embeds.to(self.unet.dtype), guidance_scale)
        self.scheduler.set_timesteps(settings.num_inference_steps, device=self.unet.device)
        for i, t in enumerate(self.scheduler.timesteps, start=1):
            predicted = self._predict(latents, t, condition, guidance_scale)
            latents = self.scheduler.step(predicted, t, latents).prev_sample
            on_step(i, settings.num_inference_steps)
        # A picture at a time: as quick where one fills a GPU, quicker where it fits a CPU's cache, and in less memory.
        return [to_image(self.movq.decode(row, force_not_quantize=True).sample[0]) for row in latents.split(1)]

    def settings(
        self, size: Size | None, num_inference_steps: int | None, guidance_scale: float | None
    ) -> DecodeSettings:
        """The model's own defaults where nothing is asked for.

        DecodingError for a size that the decoder cannot make, and for another guidance than the one that it has learnt.
        """
        grid = grid_of(self.unet, self.movq)
        if size is not None and any(side <= 0 or side % grid for side in sides_of(size)):
            raise DecodingError(f"size must be a positive multiple of {grid} pixels, got {size}")
        learnt = self.defaults.guidance_scale
        if self.guidance_learnt and guidance_scale not in (None, learnt):
            raise DecodingError(f"guidance_scale must be {learnt:g}, which is learnt, got {guidance_scale:g}")
        return DecodeSettings(
            size or self.defaults.size,
            num_inference_steps or self.defaults.num_inference_steps,
            self.defaults.guidance_scale if guidance_scale is None else guidance_scale,
        )

    def as_candidate(self, settings: DecodeSettings) -> DecodeSettings:
        """How what may be handed out is decoded for its check: no larger, and in no more steps, than that needs."""
        steps = min(self.candidate.num_inference_steps, settings.num_inference_steps)
        return replace(settings, size=self._candidate_size(settings.size), num_inference_steps=steps)

    def _candidate_size(self, size: Size) -> Size:
        """The same aspect on as many pixels as a candidate has, but for the grid."""
        edge, own = (isqrt(prod(sides_of(one))) for one in (self.candidate.size, size))
        if own <= edge:
            return size
        grid = grid_of(self.unet, self.movq)
        return size_of(*(max(grid, round(side * edge / own / grid) * grid) for side in sides_of(size)))

    def _noise(self, batch: int, size: Size, generators: Generators) -> Tensor:
        width, height = (side // pixels_per_latent(self.movq) for side in sides_of(size))
        shape = (batch, self.unet.config.in_channels, height, width)
        noise = randn_tensor(shape, generator=generators, device=self.unet.device, dtype=self.unet.dtype)
        scaled: Tensor = noise * self.scheduler.init_noise_sigma
        return scaled

    def _condition(self, image_embeds: Tensor, guidance_scale: float) -> dict[str, Any]:
        fixed = self.constants
        if guidance_scale > 1:
            image_embeds = torch.cat([fixed.negative_image_embeds.expand_as(image_embeds), image_embeds])
        rows = len(image_embeds)
        text_embeds = fixed.prompt_embeds.expand(rows, -1)
        return {
            "encoder_hidden_states": fixed.text_encoder_hidden_states.expand(rows, -1, -1),
            "added_cond_kwargs": {"text_embeds": text_embeds, "image_embeds": image_embeds},
        }

    def _predict(self, latents: Tensor, t: Tensor, condition: dict[str, Any], guidance_scale: float) -> Tensor:
        """The guided prediction (batch, channels, height, width); the U-Net's second half, a variance, is not used."""
        channels = latents.shape[1]
        if guidance_scale <= 1:
            unguided: Tensor = self.unet(latents, t, **condition).sample
            return unguided[:, :channels]
        return guide(self.unet(torch.cat([latents] * 2), t, **condition).sample[:, :channels], guidance_scale)


def pixels_per_latent(movq: VQModel) -> int:
    """Pixels per latent, along an edge."""
    return int(2 ** (len(movq.config.block_out_channels) - 1))


def grid_of(unet: UNet2DConditionModel, movq: VQModel) -> int:
    """What an edge in pixels must be a multiple of, to be whole at each level of the U-Net."""
    return int(pixels_per_latent(movq) * 2 ** (len(unet.config.block_out_channels) - 1))


def to_image(pixels: Float[Tensor, "3 height width"]) -> Image.Image:
    """The picture of pixels in [−1, 1], rounded as diffusers rounds them."""
    array = (pixels * 0.5 + 0.5).clamp(0, 1).cpu().permute(1, 2, 0).float().numpy()
    return Image.fromarray((array * 255).round().astype(np.uint8))


def guide(predicted: Tensor, guidance_scale: float) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598) of rows ordered [unconditional, conditional]."""
    unconditional, conditional = predicted.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def _defaults(folder: Path, unet: UNet2DConditionModel, movq: VQModel) -> tuple[DecodeSettings, DecodeSettings, bool]:
    """50 steps at guidance 7.5 (arXiv 2308.02669), unless the checkpoint's defaults.json says otherwise.

    Candidates have 10 steps at three quarters of the edge, or what `candidate` says there: a twentieth of the work.
    `guidance_learnt` says that one branch of the U-Net gives what `guidance_scale` guides (arXiv 2210.03142).
    """
    size, grid = unet.config.sample_size * pixels_per_latent(movq), grid_of(unet, movq)
    published = {"size": size, "num_inference_steps": 50, "guidance_scale": 7.5}
    quick = {"size": max(grid, size * 3 // 4 // grid * grid), "num_inference_steps": 10}
    with described(f"defaults.json from {folder}"):
        own = load_defaults(folder, published)
        own.pop("space", None)
        learnt, candidate = own.pop("guidance_learnt", False), quick | own.pop("candidate", {})
        settings = DecodeSettings(**own)
        return settings, replace(settings, **candidate), learnt


@torch.no_grad()
def _constants(
    folder: Path,
    image_encoder: CLIPVisionModelWithProjection,
    empty_prompt: Callable[[], dict[str, Tensor]],
    device: str,
    dtype: torch.dtype,
) -> Constants:
    """Those in constants.safetensors, and what is not there as a full-size checkpoint's encoders give it."""
    path = folder / "constants.safetensors"
    with described(str(path)):
        values = load_file(path) if path.exists() else empty_prompt()
        if "negative_image_embeds" not in values:
            edge = image_encoder.config.image_size
            nothing = torch.zeros(1, 3, edge, edge, device=device, dtype=dtype)
            values["negative_image_embeds"] = image_encoder(nothing).image_embeds
        return Constants(**{name: value.to(device, dtype) for name, value in values.items()})
