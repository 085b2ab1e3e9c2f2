"""What a run shows of its trials while it goes on; nothing of it comes back into the run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

Standing = Literal["moving", "arrived", "ended"]


@dataclass(frozen=True)
class Snapshot:
    """A trial at its latest step.

    `x` and `y` are its coordinates (`DensityModel.coordinates`), `validity` is its latest check's, None before one,
    `image` what that check decoded, at the one call that follows the check, and `climbed` how many rungs of the
    ladder it has passed, None without one.
    """

    bits: float
    validity: float | None
    x: float
    y: float
    state: Standing
    image: Image.Image | None = None
    climbed: int | None = None


Observer = Callable[[int, Sequence[Snapshot]], None]  # of a step, before it is reported, and again after its check


def unobserved(_step: int, _snapshots: Sequence[Snapshot]) -> None:
    """An observer that sees nothing."""
