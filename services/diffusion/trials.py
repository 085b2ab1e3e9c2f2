"""What is known of a trial: where it was, what it looked like there, and which of them to hand out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.density.model import DensityModel
from services.diffusion.runtime.observer import Snapshot, Standing
from services.diffusion.runtime.savepoint import Tree
from services.diffusion.steering.spaces import Parameters

MIN_VALIDITY = 0.5


@dataclass(frozen=True)
class State:
    """One row at one step: its embedding (dim,), figures and place; `residual` is a quantile of the baseline's."""

    seed: int
    step: int
    image_embeds: Tensor
    d2: float
    bits: float
    anchor: float
    residual: float
    x: float
    y: float


def state_restored(saved: Tree, device: torch.device) -> State:
    """The state whose `vars` were saved."""
    return State(**saved | {"image_embeds": saved["image_embeds"].to(device)})


def state_of(
    density: DensityModel, seed: int, step: int, image_embeds: Float[Tensor, "dim"], figures: Sequence[float]
) -> State:
    """One row's, of the column that `Figures.table` has of it."""
    d2, cosine, residual, x, y = figures
    return State(seed, step, image_embeds, d2, density.bits(d2), cosine, residual, x, y)


def states_of(
    density: DensityModel,
    seeds: list[int],
    step: int,
    image_embeds: Float[Tensor, "rows dim"],
    table: Float[Tensor, "5 rows"],
) -> list[State]:
    """A state per row, without gradient, of `Figures.table`."""
    rows = zip(seeds, image_embeds.detach(), zip(*table.tolist(), strict=True), strict=True)
    return [state_of(density, seed, step, embeds, figures) for seed, embeds, figures in rows]


@dataclass(frozen=True)
class Checked:
    """A state that has been decoded and looked at, and what the trial had learnt there.

    `validity` is None where the judge cannot tell, and then no reason to fail.
    """

    state: State
    learnt: Parameters
    image: Image.Image
    validity: float | None

    @property
    def passed(self) -> bool:
        return self.validity is None or self.validity >= MIN_VALIDITY

    def saved(self) -> Tree:
        picture = torch.from_numpy(np.array(self.image))
        return vars(self) | {"state": vars(self.state), "image": picture}

    @classmethod
    def restored(cls, saved: Tree, device: torch.device) -> "Checked":
        learnt = [tensor.to(device) for tensor in saved["learnt"]]
        image = Image.fromarray(saved["image"].numpy())
        return cls(state_restored(saved["state"], device), learnt, image, saved["validity"])


@dataclass(eq=False)
class Trial:
    """One row: its noise, what it learns, its latest state and what its checks found.

    `best` is the last check that was passed, or the most valid one if none was; `validity` is the latest check's.
    `climbed` has what was passed at each rung of a ladder, the lowest first; a single target is a ladder of one rung.
    """

    seed: int
    parameters: Parameters
    strict: bool = False
    arrived: bool = False
    ended: bool = False
    state: State | None = None
    best: Checked | None = None
    validity: float | None = None
    climbed: list[Checked] = field(default_factory=list)

    @property
    def moving(self) -> bool:
        return not (self.ended or self.arrived)

    @property
    def ready(self) -> bool:
        """At its target, and seen to be valid there."""
        return self.ended and self.arrived

    def climb(self, check: Checked, rungs: int) -> None:
        """What was passed at a rung: the trial goes on to the next of them, and ends at the last."""
        self.climbed.append(replace(check, learnt=[part.cpu() for part in check.learnt]))  # many, and rarely read again
        self.arrived = self.ended = len(self.climbed) == rungs

    def snapshot(self, image: Image.Image | None = None, *, ladder: bool = False) -> Snapshot | None:
        """The trial as it is shown, with the picture that a check has just decoded; None before its first step."""
        if (at := self.state) is None:
            return None
        standing: Standing = "ended" if self.ended else "arrived" if self.arrived else "moving"
        return Snapshot(at.bits, self.validity, at.x, at.y, standing, image, len(self.climbed) if ladder else None)

    def see(self, check: Checked) -> None:
        """Take in what a check found."""
        self.validity = check.validity
        best = self.best
        if best is None or check.passed or (not best.passed and (check.validity or 0) > (best.validity or 0)):
            self.best = check

    def saved(self) -> Tree:
        """All but the seed; an ended trial's parameters are no longer needed."""
        return {
            "parameters": [] if self.ended else self.parameters,
            "flags": {name: getattr(self, name) for name in ("strict", "arrived", "ended", "validity")},
            "state": self.state and vars(self.state),
            "best": self.best and self.best.saved(),
            "climbed": [check.saved() for check in self.climbed],
        }

    def restore(self, saved: Tree) -> None:
        """Stand where the trial stood that was saved."""
        device = self.parameters[0].device
        for tensor, value in zip(self.parameters, saved["parameters"], strict=False):
            tensor.copy_(value)
        for name, value in saved["flags"].items():
            setattr(self, name, value)
        self.state = saved["state"] and state_restored(saved["state"], device)
        self.best = saved["best"] and Checked.restored(saved["best"], device)
        self.climbed = [Checked.restored(check, device) for check in saved["climbed"]]


def copied(parameters: Parameters) -> Parameters:
    """Values that no later step changes."""
    return [tensor.detach().clone() for tensor in parameters]


def ranked(trials: list[Trial], variety: float = 0.0) -> list[Checked]:
    """What was looked at, the best first: those at their target, the most valid before the others; then the rarest of
    those that are valid elsewhere; then the most valid. Where the judge cannot tell, the rarest.

    `variety`, 0 to 1, puts those that are valid at their target in the order of `varied`.
    """

    def rank(trial: Trial, best: Checked) -> tuple[bool, bool, float]:
        rarest = best.validity is None or (best.passed and not trial.ready)
        return trial.ready, best.passed, best.state.bits if rarest else best.validity or 0.0

    looked_at = [(rank(trial, trial.best), trial.best) for trial in trials if trial.best]
    best_first = sorted(looked_at, key=lambda one: one[0], reverse=True)
    ready = sum(rank[:2] == (True, True) for rank, _ in best_first)
    checks = [best for _, best in best_first]
    return (varied(checks[:ready], variety) if variety and ready else checks[:ready]) + checks[ready:]


def varied(checks: list[Checked], variety: float) -> list[Checked]:
    """Always next the one with the most of validity, and, by `variety`, of difference from all before it.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998); difference is 1 − cosine, from the checks' mean, to
    the nearest. Where the judge cannot tell, difference alone counts.
    """
    left, chosen = list(range(len(checks))), list[int]()
    embeds = torch.stack([check.state.image_embeds for check in checks]).double()
    unit = torch.nn.functional.normalize(embeds - embeds.mean(0))
    difference = (1 - unit @ unit.T).cpu()
    while left:
        far = difference[left][:, chosen].amin(1).tolist() if chosen else [0.0] * len(left)
        worth = [(1 - variety) * (checks[i].validity or 0.0) + variety * d for i, d in zip(left, far, strict=True)]
        chosen.append(left.pop(worth.index(max(worth))))
    return [checks[i] for i in chosen]


def columns(trials: list[Trial]) -> list[list[Checked]]:
    """What trials left on their way up a ladder, the lowest rung first: whoever came highest before the others, then
    whoever is surest of its least valid picture. Where nobody passed the first rung, the best that was looked at."""

    def rank(column: list[Checked]) -> tuple[int, float]:
        return len(column), min((check.validity for check in column if check.validity is not None), default=1.0)

    climbed = sorted((trial.climbed for trial in trials if trial.climbed), key=rank, reverse=True)
    return climbed or [ranked(trials)[:1]]
