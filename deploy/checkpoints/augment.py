"""Versions of a picture on white, from parameters that are kept, so that any size shows the same version.

A version is (scale of x, scale of y, shift of x, shift of y, turn of the hue in radians, change of lightness); a
negative scale of x is a mirror image.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
STRETCH, SHIFT, LIGHTNESS = 0.22, 0.05, 0.25


def draw_parameters(count: int, generator: torch.Generator) -> Float[Tensor, "count 6"]:
    """Half are mirrored, three in five stretched, two in three turned in hue, two in five lighter or darker."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    def sometimes(share: float, values: Tensor) -> Tensor:
        return torch.where(uniform(0, 1) < share, values, torch.zeros(count))

    zoom, stretch = uniform(0.95, 1.15), sometimes(0.6, uniform(-STRETCH, STRETCH)).exp()
    scale_x, scale_y = zoom * stretch.clamp(min=0.94), zoom / stretch.clamp(max=1 / 0.94)
    mirrored = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    hue = sometimes(2 / 3, uniform(0, 2 * math.pi))
    lightness = sometimes(0.4, uniform(-LIGHTNESS, LIGHTNESS))
    shifts = uniform(-SHIFT, SHIFT), uniform(-SHIFT, SHIFT)
    return torch.stack([scale_x * mirrored, scale_y, *shifts, hue, lightness], 1)


def plain_parameters(count: int) -> Float[Tensor, "count 6"]:
    """Those that change nothing."""
    return torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]).repeat(count, 1)


def apply(
    pixels: Float[Tensor, "batch 3 height width"], parameters: Float[Tensor, "batch 6"]
) -> Float[Tensor, "batch 3 height width"]:
    """The versions, in [−1, 1] like the pictures; white stays white."""
    parameters = parameters.to(pixels)
    moved = torch.zeros(len(pixels), 2, 3, device=pixels.device, dtype=pixels.dtype)
    moved[:, 0, 0], moved[:, 1, 1] = parameters[:, 0], parameters[:, 1]
    moved[:, :, 2] = parameters[:, 2:4]
    grid = F.affine_grid(moved, list(pixels.shape), align_corners=False)
    coloured = recoloured((pixels + 1) / 2, parameters[:, 4], parameters[:, 5])
    return (F.grid_sample(coloured - 1, grid, align_corners=False) + 1) * 2 - 1


def recoloured(rgb: Tensor, hue: Tensor, lightness: Tensor) -> Tensor:
    """Turn the chroma plane of YIQ and lighten what is neither black nor white; RGB in [0, 1]."""
    to_yiq = TO_YIQ.to(rgb)
    luma, i, q = torch.einsum("ij,bjhw->ibhw", to_yiq, rgb)
    cos, sin = (f(hue)[:, None, None] for f in (torch.cos, torch.sin))
    lighter = luma + lightness[:, None, None] * 2 * (1 - luma).clamp(0, 1) * luma
    turned = torch.stack([lighter, cos * i - sin * q, sin * i + cos * q], 1)
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_yiq), turned).clamp(0, 1)
