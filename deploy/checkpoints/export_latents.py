"""Encode the decoder's pictures: latents, embeddings and sampling weights for `train_unet.py`."""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import VQModel

from deploy.checkpoints.corpus import Pictures
from deploy.checkpoints.train_movq import encode
from deploy.checkpoints.train_prior import picture_weights
from deploy.checkpoints.train_space import to_float


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--movq", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pictures, movq = Pictures.load(args.data), VQModel.from_pretrained(args.movq).eval()
    index, pixels = np.load(args.space / "index.npy"), np.load(args.space / "pixels.npy", mmap_mode="r")
    rows = np.array([r for r, i in enumerate(index) if pictures.families[i]])
    latents = torch.cat([encode(movq, to_float(np.array(pixels[rows[i : i + 128]]))) for i in range(0, len(rows), 128)])
    held_out = set(pictures.held_out)
    arrays = {
        "latents": latents.half().numpy(),
        "z": np.load(args.space / "z.npy")[rows].astype(np.float16),
        "weights": picture_weights(pictures, index[rows], 1.0),
        "rows": rows,
        "held_out": np.array([index[r] in held_out for r in rows]),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez(args.out / "latents.npz", **arrays)
    std = latents.std((0, 2, 3))
    print(f"{len(rows)} latents, mean {latents.mean():.3f}, standard deviation {std.min():.3f} to {std.max():.3f}")


if __name__ == "__main__":
    main()
