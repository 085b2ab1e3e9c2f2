"""Distil the CLIP vision encoder: from pixels to the embedding that the teachers' image head gives."""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from deploy.checkpoints.corpus import DEVICE, Pictures
from deploy.checkpoints.train_prior import picture_weights
from deploy.checkpoints.train_space import DIM, to_float

CONFIG = CLIPVisionConfig(
    image_size=64,
    patch_size=8,
    hidden_size=128,
    intermediate_size=512,
    num_hidden_layers=4,
    num_attention_heads=4,
    projection_dim=DIM,
    hidden_act="quick_gelu",
)
# CLIP's own normalisation of pixels, as the image processor applies it.
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


def embed(model: CLIPVisionModelWithProjection, pixels: torch.Tensor) -> torch.Tensor:
    """Embeddings (batch, 128) of pixels (batch, 3, 64, 64) in [−1, 1]."""
    return model((((pixels + 1) / 2 - MEAN) / STD).to(model.device)).image_embeds


def train(
    model: CLIPVisionModelWithProjection,
    pixels: np.ndarray,
    z: torch.Tensor,
    weights: torch.Tensor,
    check: np.ndarray,
    *,
    minutes: float,
    lr: float = 1e-3,
    batch: int = 64,
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05, betas=(0.9, 0.98))
    generator, start, step = torch.Generator().manual_seed(0), time.time(), 0
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 200) * (1 + math.cos(math.pi * done)) / 2
        picks = torch.multinomial(weights, batch, replacement=True, generator=generator).numpy()
        loss = F.mse_loss(embed(model, to_float(pixels[picks])), z[picks])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 200 == 0:
            with torch.no_grad():
                cosine = F.cosine_similarity(embed(model, to_float(pixels[check])), z[check]).mean().item()
            print(
                f"vision {step} {done * minutes:.1f} min loss {loss.item():.3f} held-out cosine {cosine:.3f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    torch.manual_seed(0)
    pictures = Pictures.load(args.data)
    pixels, index, z = (np.load(args.space / f"{n}.npy") for n in ("pixels", "index", "z"))
    out = np.isin(index, pictures.held_out)
    weights = torch.from_numpy(picture_weights(pictures, index, 0.6) * ~out)
    model = CLIPVisionModelWithProjection(CONFIG)
    train(
        model.to(DEVICE),
        pixels,
        torch.from_numpy(z).to(DEVICE),
        weights,
        np.flatnonzero(out)[::8][:256],
        minutes=args.minutes,
    )
    model.save_pretrained(args.out / "image_encoder")


if __name__ == "__main__":
    main()
