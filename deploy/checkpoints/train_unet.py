"""Train the decoder: a UNet2DConditionModel of the Kandinsky 2.1 kind, latents from image embeddings.

v-prediction on a cosine schedule. The unconditional branch sees a zero embedding; XLM-R's output for the empty prompt
is a constant zero (see `export.py`). It stops where the loss on held-out objects turns, and keeps the average of its
weights from where that was lowest.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.checkpoints.corpus import DEVICE
from deploy.checkpoints.run import CUDA, Run, half, learning_rate

DIM, CHANNELS = 128, 12
CONFIG = {
    "sample_size": 16,
    "in_channels": CHANNELS,
    "out_channels": 2 * CHANNELS,
    "block_out_channels": (128, 192, 256),
    "layers_per_block": 1,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "attention_head_dim": 32,
    "cross_attention_dim": DIM,
    "encoder_hid_dim": DIM,
    "encoder_hid_dim_type": "text_image_proj",
    "addition_embed_type": "text_image",
    "resnet_time_scale_shift": "scale_shift",
}
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}
LR, HOLD, DECAY, CHECK_EVERY, CHECKED = 8e-4, 0.6, 0.9993, 200, 512
HELD_OUT_SEED = 5


def denoise(unet: nn.Module, noisy: Tensor, timesteps: Tensor, image_embeds: Tensor) -> Tensor:
    """The predicted v (batch, 12, 16, 16); the second half of the output, a variance, is not trained."""
    empty = torch.zeros(len(noisy), DIM, device=noisy.device)
    cond = {"image_embeds": image_embeds, "text_embeds": empty}
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    with half():
        output = unet(noisy, timesteps, encoder_hidden_states=empty[:, None], added_cond_kwargs=cond).sample
    return output[:, :CHANNELS].float()


@dataclass(frozen=True)
class Examples:
    """Latents (n, 12, 16, 16) and image embeddings (n, 128) of the same pictures, with sampling weights (n,)."""

    latents: Tensor
    image_embeds: Tensor
    weights: Tensor

    @classmethod
    def load(cls, path: Path) -> tuple["Examples", "Examples"]:
        """What is trained on, and what is held out, on the device."""
        arrays = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
        parts = (
            cls(arrays["latents"][rows].to(DEVICE), arrays["z"][rows].to(DEVICE), arrays["weights"][rows])
            for rows in (~arrays["held_out"], arrays["held_out"])
        )
        train_part, held_out = parts
        return train_part, held_out

    def draw(self, batch: int, generator: torch.Generator, noise: float, drop: float) -> tuple[Tensor, Tensor]:
        """A batch; embeddings carry up to `noise` (as the prior's do), a share `drop` is zero (no condition)."""
        picks = torch.multinomial(self.weights, batch, replacement=True, generator=generator).to(DEVICE)
        strength = noise * torch.rand(batch, 1, generator=generator)
        moved = (strength * torch.randn(batch, DIM, generator=generator)).to(DEVICE)
        keep = (torch.rand(batch, 1, generator=generator) >= drop).to(DEVICE)
        return self.latents[picks].float(), (self.image_embeds[picks].float() + moved) * keep


def noised(scheduler: DDIMScheduler, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latents at timesteps of their own, mostly in the middle, and the v to be predicted."""
    noise = torch.randn(latents.shape, generator=generator).to(DEVICE)
    quantile = torch.sigmoid(1.2 * torch.randn(len(latents), generator=generator) + 0.2)
    timesteps = (quantile * 1000).long().clamp(0, 999).to(DEVICE)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    return noisy, timesteps, scheduler.get_velocity(latents, noise, timesteps)


def loss_of(
    unet: nn.Module, scheduler: DDIMScheduler, latents: Tensor, z: Tensor, generator: torch.Generator
) -> Tensor:
    noisy, timesteps, target = noised(scheduler, latents, generator)
    return F.mse_loss(denoise(unet, noisy, timesteps, z), target)


@torch.no_grad()
def held_out_loss(unet: nn.Module, scheduler: DDIMScheduler, held_out: Examples) -> float:
    """The same pictures, noises and timesteps each time."""
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    latents, z = held_out.draw(CHECKED, generator, noise=0.25, drop=0.0)
    return loss_of(unet, scheduler, latents, z, generator).item()


def train(run: Run, examples: Examples, held_out: Examples, *, minutes: float, batch: int) -> None:
    scheduler, generator = DDIMScheduler(**SCHEDULER), torch.Generator().manual_seed(run.step)
    compiled = torch.compile(run.model) if CUDA else run.model
    for done in run.until(minutes):
        latents, z = examples.draw(batch, generator, noise=0.25, drop=0.1)
        lr = LR * min(1, (run.step + 1) / 200) * max(0.01, learning_rate(done, HOLD))
        run.descend(loss_of(compiled, scheduler, latents, z, generator), lr, DECAY)
        if run.step % CHECK_EVERY == 0:
            check(run, scheduler, held_out)
    check(run, scheduler, held_out)


def check(run: Run, scheduler: DDIMScheduler, held_out: Examples) -> None:
    if run.check(held_out_loss(run.average, scheduler, held_out)):
        run.average.save_pretrained(run.folder / "unet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=Path, required=True, help="folder with latents.npz")
    parser.add_argument("--out", type=Path, required=True, help="resumed from when it holds a run")
    parser.add_argument("--minutes", type=float, required=True, help="of all runs together, at most")
    parser.add_argument("--batch", type=int, default=256)
    args = parser.parse_args()
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**CONFIG).to(DEVICE, memory_format=torch.channels_last)
    run = Run.start(args.out, unet, weight_decay=0.01)
    train(run, *Examples.load(args.examples / "latents.npz"), minutes=args.minutes, batch=args.batch)


if __name__ == "__main__":
    main()
