"""Encode the decoder's pictures: latents, embeddings and sampling weights for `train_unet.py`."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import VQModel
from torch import Tensor

from deploy.checkpoints import augment, pieces
from deploy.checkpoints.corpus import DEVICE, Pictures, family_of, records_of
from deploy.checkpoints.train_movq import SIZE, encode, family_weights

BATCH = 64


@torch.no_grad()
def latents_of(movq: VQModel, pictures: Pictures, index: np.ndarray, parameters: Tensor, rows: range) -> pieces.Arrays:
    """Latents (rows, 12, 16, 16) of versions: row r is picture `index[r]` changed by `parameters[r]`."""
    latents = []
    for batch in np.array_split(rows, -(-len(rows) // BATCH)):
        pixels = pictures.pixels(index[batch].tolist()).to(DEVICE)
        latents.append(encode(movq, augment.apply(pixels, parameters[batch])).half().cpu().numpy())
    return {"latents": np.concatenate(latents)}


def family_versions(data: Path, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The versions that show a family, and of each its picture's place among the families' pictures."""
    families = np.flatnonzero([family_of(r) is not None for r in records_of(data)])
    rows = np.flatnonzero(np.isin(index, families))
    return rows, np.searchsorted(families, index[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--movq", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    movq = VQModel.from_pretrained(args.movq).eval().to(DEVICE)
    pictures = Pictures.load(args.data, SIZE, families_only=True)
    rows, index = family_versions(args.data, np.load(args.space / "index.npy"))
    parameters = torch.from_numpy(np.load(args.space / "parameters.npy")[rows])
    arrays = pieces.compute(args.out / "latents", len(rows), partial(latents_of, movq, pictures, index, parameters))
    arrays |= {
        "z": np.load(args.space / "z.npy")[rows].astype(np.float16),
        "weights": family_weights(pictures, index).astype(np.float32),
        "held_out": np.isin(index, pictures.held_out),
    }
    np.savez(args.out / "latents.npz", **arrays)
    std = arrays["latents"].astype(np.float32).std((0, 2, 3))
    print(f"{len(rows)} latents, standard deviation {std.min():.3f} to {std.max():.3f}")


if __name__ == "__main__":
    main()
