"""The optimisation loop of the calibrated mode: many trials in one batch, each drawn to the wanted rarity."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from services.diffusion.density import DensityModel
from services.diffusion.fit import Report
from services.diffusion.kandinsky import Kandinsky
from services.diffusion.losses import anchor_loss, rarity_loss, residual_loss
from services.diffusion.spaces import TokenSpace
from services.diffusion.trials import Checked, Figures, State, Trial, states_of

CHECK_EVERY = 25
STEP = 0.2  # of the tokens' root mean square, per value: the paper's 1e-4 is for 1,000 steps of full-size CLIP
WEIGHT_DECAY = 1e-2
SHELL_BITS = 0.5
ANCHOR_RAISE = 4.0

Judge = Callable[[list[int], Tensor], list[tuple[Image.Image, float]]]


@dataclass(frozen=True)
class Target:
    """The shell to reach, `lowest` ≤ d² ≤ `highest`, and how far typical samples stray in cosine and residual."""

    lowest: float
    highest: float
    spread: float
    anchor_floor: float
    anchor_middle: float
    residual_ceiling: float

    @classmethod
    def of(cls, density: DensityModel, bits: float) -> "Target":
        """The shell from `bits` to SHELL_BITS more; hinges at the 5% and 95% points of held-out samples."""
        typical, high = density.survival.value(0.5), density.survival.value(0.1)
        lowest, highest = density.d2_at(bits), density.d2_at(bits + SHELL_BITS)
        floor, middle = (float(density.anchors.quantile(p)) for p in (0.05, 0.5))
        ceiling = float(density.residuals.quantile(0.95))
        return cls(lowest, highest, max(high, lowest) - typical, floor, middle, ceiling)

    def holds(self, state: State) -> bool:
        return self.lowest <= state.d2 <= self.highest

    def loss(self, figures: Figures, strict: Bool[Tensor, "rows"]) -> Float[Tensor, "rows"]:
        """The pull to the middle of the shell, and the hinges that keep the concept and the baseline's subspace.

        A strict row is held to what half of the typical samples have, with ANCHOR_RAISE times the force.
        """
        rarity = rarity_loss(figures.d2, (self.lowest + self.highest) / 2, self.spread)
        floor = self.anchor_floor + strict * (self.anchor_middle - self.anchor_floor)
        anchor = anchor_loss(figures.cosine, floor, self.anchor_middle - self.anchor_floor)
        weight = 1 + strict * (ANCHOR_RAISE - 1)
        return rarity + weight * anchor + residual_loss(figures.residual, self.residual_ceiling)


def noise_of(seeds: list[int]) -> list[torch.Generator]:
    """A generator per row on the CPU, so that a row's noise depends neither on its neighbours nor on the device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class Optimization:
    """Trials that move side by side and share nothing but the frozen weights; every row keeps its own noise."""

    def __init__(
        self, model: Kandinsky, density: DensityModel, space: TokenSpace, seeds: list[int], bits: float
    ) -> None:
        self.model, self.density, self.space = model, density, space
        self.target = Target.of(density, bits)
        self.text_embeds = model.encode_prompt(density.text).text_embeds
        offsets = zip(seeds, space.offsets, strict=True)
        self.trials = [Trial(row, seed, o, torch.zeros_like(o)) for row, (seed, o) in enumerate(offsets)]
        self.optimizer = torch.optim.AdamW(space.offsets, lr=STEP * space.scale, weight_decay=WEIGHT_DECAY)

    def run(self, steps: int, judge: Judge, report: Report) -> list[Trial]:
        """At most `steps` steps, a check every CHECK_EVERY of them and at the end; `report` may raise to stop."""
        for step in range(1, steps + 1):
            self.measure(step)
            report("optimize", step, steps, median(trial.state.bits for trial in self.trials if trial.state))
            if step % CHECK_EVERY == 0 or step == steps:
                self._check(judge)
            if all(trial.ended for trial in self.trials):
                break
            self.optimizer.step()
        return self.trials

    def measure(self, step: int) -> None:
        """Sample every moving trial's embedding and leave its gradient, unless it has arrived."""
        self.optimizer.zero_grad()
        moving = [trial for trial in self.trials if trial.moving]
        if not moving:
            return
        seeds = [trial.seed for trial in moving]
        encoding = self.space.encode([trial.row for trial in moving])
        image_embeds = self.model.sample_prior(encoding, noise_of(seeds), len(seeds), cached=True)
        figures = Figures.of(self.density, image_embeds, self.text_embeds)
        strict = torch.tensor([trial.strict for trial in moving], device=self.model.device)
        self.target.loss(figures, strict).sum().backward()
        for trial, state in zip(moving, states_of(self.density, seeds, step, image_embeds, figures), strict=True):
            trial.state = state
            trial.arrived = self.target.holds(state)
            if trial.arrived:
                trial.offset.grad = None

    def _check(self, judge: Judge) -> None:
        """Decode and judge what has not ended; a pass at the target ends a trial, as a second failure does."""
        trials = [trial for trial in self.trials if not trial.ended]
        states = [trial.state for trial in trials if trial.state]
        verdicts = judge([state.seed for state in states], torch.stack([state.image_embeds for state in states]))
        for trial, state, (image, validity) in zip(trials, states, verdicts, strict=True):
            trial.checks.append(Checked(state, image, validity))
            if trial.checks[-1].passed:
                trial.good_offset.copy_(trial.offset.detach())
                trial.ended = trial.arrived
            else:
                self._fall_back(trial)

    def _fall_back(self, trial: Trial) -> None:
        """Return to the last words that passed, at first the concept's own, and be strict; once per trial."""
        trial.ended, trial.arrived, trial.strict = trial.strict, False, True
        trial.offset.data.copy_(trial.good_offset)
        trial.offset.grad = None
        self.optimizer.state.pop(trial.offset, None)
