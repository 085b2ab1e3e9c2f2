"""The terms of the calibrated loss, one value per row; every one of them is 0 where it has nothing to ask for."""

from jaxtyping import Float
from torch import Tensor


def rarity_loss(
    d2: Float[Tensor, "rows"], target: Float[Tensor, "rows"] | float, scale: Float[Tensor, "rows"] | float
) -> Float[Tensor, "rows"]:
    """((d² − d²*) / s)²: a pull to the shell of the wanted rarity from both sides, 1 at a distance of `scale`."""
    return ((d2 - target) / scale).square()


def floor_loss(x: Float[Tensor, "rows"], floor: Float[Tensor, "rows"] | float, scale: float) -> Float[Tensor, "rows"]:
    """(max(0, x₀ − x) / s)²: no force on what is at or above the floor."""
    return ((floor - x).clamp(min=0) / scale).square()


def ceiling_loss(x: Float[Tensor, "rows"], ceiling: float, scale: float) -> Float[Tensor, "rows"]:
    """(max(0, x − x₀) / s)²: no force on what is at or below the ceiling."""
    return ((x - ceiling).clamp(min=0) / scale).square()
