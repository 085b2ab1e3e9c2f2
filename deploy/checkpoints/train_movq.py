"""Train the picture autoencoder: diffusers' VQModel of the MoVQ kind, 256×256 pixels to 16×16 latents of 12 channels.

The pipelines decode with `force_not_quantize=True`, so it is trained without quantising, on noisy latents kept near
unit variance; the codebook is filled by k-means at the end (see `export.py`). Crops come first, whole pictures after.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import VQModel
from torch import Tensor
from torch.nn import functional as F

from deploy.checkpoints import augment
from deploy.checkpoints.corpus import DEVICE, Pictures, picture_weights
from deploy.checkpoints.perceptual import Perceptual
from deploy.checkpoints.run import CUDA, Run, half, learning_rate

SIZE, CROP, FACTOR, CHANNELS = 256, 128, 16, 12
CONFIG = {
    "down_block_types": ("DownEncoderBlock2D",) * 5,
    "up_block_types": ("UpDecoderBlock2D",) * 5,
    "block_out_channels": (32, 32, 64, 128, 192),
    "layers_per_block": 1,
    "latent_channels": CHANNELS,
    "vq_embed_dim": CHANNELS,
    "num_vq_embeddings": 256,
    "norm_num_groups": 32,
    "norm_type": "spatial",
    "sample_size": SIZE,
}
COLOUR_MEAN, COLOUR_STD = torch.tensor([0.66, 0.01, 0.00]), torch.tensor([0.47, 0.14, 0.10])
CROPPED = 0.62  # the share of the time that goes to crops, four to one whole picture in a batch
NOISE = 0.1  # at most, on latents of unit variance
MOST_WEIGHT = 12.0  # times the mean: no tiny group is seen a hundred times as often as the others
LR, HOLD, DECAY, CHECK_EVERY, CHECKED = 1.2e-3, 0.5, 0.998, 200, 96


def encode(movq: VQModel, pixels: Tensor) -> Tensor:
    """Latents (batch, 12, height / 16, width / 16) of pixels (batch, 3, height, width) in [−1, 1]."""
    return movq.quant_conv(movq.encoder(pixels))


def decode(movq: VQModel, latents: Tensor) -> Tensor:
    return movq.decoder(movq.post_quant_conv(latents), latents)


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def colours(pixels: Tensor) -> Tensor:
    """The thumbnail of the latents' size in YIQ, each channel of about unit variance."""
    yiq = torch.einsum("ij,bjhw->bihw", augment.TO_YIQ.to(pixels), F.avg_pool2d(pixels, FACTOR))
    return (yiq - COLOUR_MEAN.to(pixels)[:, None, None]) / COLOUR_STD.to(pixels)[:, None, None]


def loss_of(movq: VQModel, perceptual: Perceptual, pixels: Tensor, noise: Tensor) -> Tensor:
    """L1 and L2 on pixels, L1 on their differences and on early features, and order in the latents.

    The first three latent channels are taught the colour thumbnail (left alone, colour is learned last), all are pulled
    to mean 0 and variance 1.
    """
    with half():
        latents = encode(movq, pixels).float()
        output = decode(movq, latents + noise).float()
        perceived = perceptual(output, pixels)
    spread = latents.mean((0, 2, 3)).square().mean() + (latents.var((0, 2, 3)) - 1).square().mean()
    edge = sum(F.l1_loss(a, b) for a, b in zip(edges(output), edges(pixels), strict=True))
    rebuilt = F.l1_loss(output, pixels) + 2 * F.mse_loss(output, pixels) + 0.7 * edge + 0.35 * perceived
    return rebuilt + 0.2 * F.mse_loss(latents[:, :3], colours(pixels)) + 0.03 * spread


@torch.no_grad()
def psnr(movq: VQModel, pixels: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of the pixels in [−1, 1]."""
    output = torch.cat([decode(movq, encode(movq, batch)) for batch in pixels.split(16)])
    return 10 * math.log10(4 / F.mse_loss(output.clamp(-1, 1), pixels).item())


def family_weights(pictures: Pictures, index: np.ndarray) -> np.ndarray:
    """Sampling weights, of mean about 1, of versions of family pictures: families alike, drawings and renders alike."""
    weights = picture_weights(pictures, index, 1.0)
    return np.minimum(weights / weights.mean(), MOST_WEIGHT)


@dataclass(frozen=True)
class Source:
    """Pictures (n, size, size, 3) uint8 on the device, where they are drawn and changed, with weights (n,)."""

    rgb: Tensor
    weights: Tensor

    @classmethod
    def of(cls, pictures: Pictures) -> "Source":
        """Nothing that is held out is drawn."""
        weights = family_weights(pictures, np.arange(len(pictures)))
        weights[pictures.held_out] = 0
        return cls(torch.from_numpy(pictures.rgb).to(DEVICE), torch.from_numpy(weights))

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Changed pictures (batch, 3, size, size) in [−1, 1]."""
        picks = torch.multinomial(self.weights, batch, replacement=True, generator=generator).to(self.rgb.device)
        pixels = self.rgb[picks].permute(0, 3, 1, 2).float() / 127.5 - 1
        return augment.apply(pixels, augment.draw_parameters(batch, generator))


def crop(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """One square of CROP pixels of all, not from the very border, where all is white."""
    margin = SIZE // 10
    y, x = torch.randint(margin, SIZE - CROP - margin, (2,), generator=generator).tolist()
    return pixels[:, :, y : y + CROP, x : x + CROP]


def batch_of(source: Source, done: float, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pixels, and noise for their latents, each picture's of a strength of its own."""
    if done < CROPPED:
        batch, pixels = 4 * batch, crop(source.draw(4 * batch, generator), generator)
    else:
        pixels = source.draw(batch, generator)
    edge = pixels.shape[-1] // FACTOR
    strength = NOISE * torch.rand(batch, 1, 1, 1, generator=generator)
    noise = strength * torch.randn(batch, CHANNELS, edge, edge, generator=generator)
    return pixels.contiguous(memory_format=torch.channels_last), noise.to(DEVICE)


def train(run: Run, perceptual: Perceptual, source: Source, held_out: Tensor, *, minutes: float, batch: int) -> None:
    generator = torch.Generator().manual_seed(run.step)
    compiled = torch.compile(loss_of, dynamic=False) if CUDA else loss_of
    for done in run.until(minutes):
        loss = compiled(run.model, perceptual, *batch_of(source, done, batch, generator))
        lr = LR * min(1, (run.step + 1) / 200) * max(0.02, learning_rate(done, HOLD))
        run.descend(loss, lr, DECAY)
        if run.step % CHECK_EVERY == 0:
            print(f"movq loss {loss.item():.4f} psnr {psnr(run.average, held_out):.2f} dB", flush=True)
    run.save()
    run.average.save_pretrained(run.folder)
    print(f"movq done: {run.step} steps, held-out psnr {psnr(run.average, held_out):.2f} dB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--lite0", type=Path, required=True, help="what perceptual.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="resumed from when it holds a run")
    parser.add_argument("--minutes", type=float, required=True, help="of all runs together")
    parser.add_argument("--batch", type=int, default=24, help="whole pictures; of crops four times as many")
    args = parser.parse_args()
    torch.manual_seed(0)
    movq = VQModel(**CONFIG).to(DEVICE, memory_format=torch.channels_last)
    movq.quantize.requires_grad_(False)
    pictures = Pictures.load(args.data, SIZE, families_only=True)
    held_out = pictures.pixels(pictures.held_out[:: max(1, len(pictures.held_out) // CHECKED)][:CHECKED]).to(DEVICE)
    perceptual = Perceptual.load(args.lite0).to(DEVICE, memory_format=torch.channels_last)
    run = Run.start(args.out, movq, weight_decay=1e-4)
    train(run, perceptual, Source.of(pictures), held_out, minutes=args.minutes, batch=args.batch)


if __name__ == "__main__":
    main()
