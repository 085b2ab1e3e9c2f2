"""Low-rank factors on the prior, one set for each trial."""

from math import prod
from typing import NamedTuple

import torch
from diffusers import PriorTransformer
from jaxtyping import Float
from torch import Tensor

RANK = 10


class Pair(NamedTuple):
    """What is added to a matrix, row by row, in the model's dtype."""

    a: Float[Tensor, "rows in rank"]
    b: Float[Tensor, "rows rank out"]

    def __call__(
        self, y: Float[Tensor, "n out"], x: Float[Tensor, "n in"], gate: Float[Tensor, "places 1"]
    ) -> Float[Tensor, "rows places out"]:
        """y + x A B where the gate is 1, y where it is 0 (LoRA, arXiv 2106.09685)."""
        rows = len(self.a)
        low = torch.bmm(x.view(rows, -1, x.shape[1]), self.a) * gate
        return torch.baddbmm(y.view(rows, -1, y.shape[1]), low, self.b)


class Factors(NamedTuple):
    """Of one layer: for queries, keys and values, A side by side and B on a diagonal, and for the output."""

    qkv: Pair
    out: Pair


class LowRank:
    """Factors of rank RANK on every attention's query, key, value and output, all of a trial's in one vector.

    The unconditional branch stays the base model's.
    """

    def __init__(self, prior: PriorTransformer) -> None:
        layers, width = len(prior.transformer_blocks), prior.proj_in.out_features
        self.dtype: torch.dtype = prior.dtype
        self.shapes = [
            (layers, width, 3 * RANK),
            (layers, 3, RANK, width),
            (layers, width, RANK),
            (layers, RANK, width),
        ]
        self.sizes = [prod(shape) for shape in self.shapes]

    def start(self, seed: int) -> Float[Tensor, "size"]:
        """A random, B zero, so that nothing changes yet."""
        generator = torch.Generator().manual_seed(2**62 + seed)  # a stream of its own, apart from the noise's
        width = self.shapes[0][1]
        a_qkv, a_out = (torch.randn(size, generator=generator) / width**0.5 for size in self.sizes[::2])
        b_qkv, b_out = (torch.zeros(size) for size in self.sizes[1::2])
        return torch.cat([a_qkv, b_qkv, a_out, b_out])

    def nothing(self, rows: int, device: torch.device) -> Float[Tensor, "rows size"]:
        """Vectors that add nothing."""
        return torch.zeros(rows, sum(self.sizes), device=device)

    def factors(self, vectors: Float[Tensor, "rows size"]) -> list[Factors]:
        """Of each layer, with each row's own."""
        parts = vectors.to(self.dtype).split(self.sizes, dim=1)
        a_qkv, b_qkv, a_out, b_out = (p.unflatten(1, shape) for p, shape in zip(parts, self.shapes, strict=True))
        apart = torch.eye(3, dtype=self.dtype, device=vectors.device)[:, None, :, None]
        b_qkv = (b_qkv[..., None, :] * apart).flatten(-2).flatten(2, 3)
        layers = zip(*(part.unbind(1) for part in (a_qkv, b_qkv, a_out, b_out)), strict=True)
        return [Factors(Pair(*layer[:2]), Pair(*layer[2:])) for layer in layers]
