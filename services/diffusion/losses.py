"""The terms of the calibrated loss, one value per row; every one of them is 0 where it has nothing to ask for."""

from jaxtyping import Float
from torch import Tensor


def rarity_loss(d2: Float[Tensor, "rows"], target: float, scale: float) -> Float[Tensor, "rows"]:
    """((d² − d²*) / s)²: a pull to the shell of the wanted rarity from both sides, 1 at a distance of `scale`."""
    return ((d2 - target) / scale).square()


def anchor_loss(cosine: Float[Tensor, "rows"], floor: Float[Tensor, "rows"], scale: float) -> Float[Tensor, "rows"]:
    """(max(0, c₀ − cos(z, t)) / s)²: no force while the cosine is one that typical samples have."""
    return ((floor - cosine).clamp(min=0) / scale).square()


def residual_loss(q: Float[Tensor, "rows"], ceiling: float) -> Float[Tensor, "rows"]:
    """max(0, q/q₀ − 1)²: no force while the residual is one that typical samples have."""
    return (q / ceiling - 1).clamp(min=0).square()
