"""Train the picture autoencoder: diffusers' VQModel of the MoVQ kind, 64×64 pixels to 8×8 latents of 16 channels.

The pipelines decode with `force_not_quantize=True`, so it is trained without quantising, on noisy latents
kept near unit variance; the codebook is filled by k-means at the end (see `export.py`).
"""

import argparse
import math
import time
from pathlib import Path

import torch
from diffusers import VQModel
from torch.nn import functional as F

from deploy.checkpoints.corpus import DEVICE, Pictures, augment

CONFIG = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (32, 32, 64, 128),
    "layers_per_block": 1,
    "latent_channels": 16,
    "vq_embed_dim": 16,
    "num_vq_embeddings": 256,
    "norm_num_groups": 32,
    "norm_type": "spatial",
    "sample_size": 64,
}


YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
COLOUR_MEAN, COLOUR_STD = torch.tensor([0.66, 0.01, 0.00]), torch.tensor([0.47, 0.14, 0.10])


def encode(movq: VQModel, pixels: torch.Tensor) -> torch.Tensor:
    """Latents (batch, 16, 8, 8) of pixels (batch, 3, 64, 64) in [−1, 1]."""
    return movq.quant_conv(movq.encoder(pixels))


def decode(movq: VQModel, latents: torch.Tensor) -> torch.Tensor:
    return movq.decoder(movq.post_quant_conv(latents), latents)


def edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def colours(pixels: torch.Tensor) -> torch.Tensor:
    """The 8×8 thumbnail in YIQ, each channel of about unit variance: (batch, 3, 8, 8)."""
    yiq = torch.einsum("ij,bjhw->bihw", YIQ.to(pixels), F.avg_pool2d(pixels, 8))
    return (yiq - COLOUR_MEAN.to(pixels)[:, None, None]) / COLOUR_STD.to(pixels)[:, None, None]


def loss_of(movq: VQModel, pixels: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
    """L1 and L2 on pixels, L1 on their differences, and order in the latents.

    The first three latent channels are taught the colour thumbnail (left alone, colour is learned last, in hours), the
    others are pulled to mean 0 and variance 1.
    """
    latents = encode(movq, pixels)
    spread = latents.mean((0, 2, 3)).square().mean() + (latents.var((0, 2, 3)) - 1).square().mean()
    colour = F.mse_loss(latents[:, :3], colours(pixels))
    noisy = latents + noise * torch.randn(latents.shape, generator=generator).to(latents)
    output = decode(movq, noisy)
    edge = sum(F.l1_loss(a, b) for a, b in zip(edges(output), edges(pixels), strict=True))
    thumbnail = F.mse_loss(F.avg_pool2d(output, 8), F.avg_pool2d(pixels, 8))
    rebuilt = F.l1_loss(output, pixels) + 2 * F.mse_loss(output, pixels) + 0.5 * edge + 4 * thumbnail
    return rebuilt + 0.5 * colour + 0.02 * spread


@torch.no_grad()
def psnr(movq: VQModel, pixels: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of the pixels in [−1, 1]."""
    output = torch.cat([decode(movq, encode(movq, batch)) for batch in pixels.split(64)])
    return 10 * math.log10(4 / F.mse_loss(output.clamp(-1, 1), pixels).item())


def train(
    movq: VQModel,
    pictures: Pictures,
    *,
    minutes: float,
    batch: int,
    lr: float,
    decoder_only: bool,
    seed: int,
    save: Path,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    for part in (movq.encoder, movq.quant_conv):
        part.requires_grad_(not decoder_only)
    movq.quantize.requires_grad_(False)
    parameters = [p for p in movq.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-4, betas=(0.9, 0.99))
    held_out = pictures.pixels(pictures.held_out[::10][:128]).to(DEVICE)
    start, step, saved = time.time(), 0, time.time()
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 100) * (1 + math.cos(math.pi * done)) / 2
        pixels = augment(pictures.draw(batch, generator), generator).to(DEVICE)
        loss = loss_of(movq, pixels, 0.1, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 250 == 0:
            minutes_done = (time.time() - start) / 60
            print(
                f"movq {step} {minutes_done:.1f} min {loss.item():.4f} psnr {psnr(movq, held_out):.2f} dB", flush=True
            )
        if time.time() - saved > 120:
            movq.save_pretrained(save)
            saved = time.time()
    movq.save_pretrained(save)
    print(f"movq done: {step} steps, held-out psnr {psnr(movq, held_out):.2f} dB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents as they are")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    movq = VQModel.from_pretrained(args.init) if args.init else VQModel(**CONFIG)
    train(
        movq.to(DEVICE),
        Pictures.load(args.data),
        minutes=args.minutes,
        batch=args.batch,
        lr=args.lr,
        decoder_only=args.decoder_only,
        seed=args.seed,
        save=args.out,
    )


if __name__ == "__main__":
    main()
