"""The calibrated mode: many short trials in one batch, each drawn to the wanted rarity, until enough have arrived."""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import torch
from PIL import Image
from torch import Tensor

from services.diffusion.density import DensityModel
from services.diffusion.fit import Report
from services.diffusion.memory import Batches
from services.diffusion.objective import Figures, Objective
from services.diffusion.savepoint import NOWHERE, Savepoint, Tree, moments, set_moments
from services.diffusion.spaces import Space
from services.diffusion.trials import Checked, State, Trial, copied, states_of
from services.diffusion.watch import Watch, unwatched

CHECK_EVERY = 25
WEIGHT_DECAY = 1e-2
ENOUGH = 2  # ready trials for every image, of which the more valid are chosen

Judge = Callable[[list[int], Tensor], list[tuple[Image.Image, float | None]]]


def noise_of(seeds: list[int]) -> list[torch.Generator]:
    """A generator per row on the CPU, so that a row's noise depends neither on its neighbours nor on the device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class Optimization:
    """Trials that move side by side and share nothing but the frozen weights; row i keeps the noise of seed + i."""

    def __init__(
        self, space: Space, density: DensityModel, objective: Objective, *, seed: int, trials: int, count: int
    ) -> None:
        self.space, self.density, self.objective, self.count = space, density, objective, count
        self.trials = [Trial(s, space.start(s)) for s in range(seed, seed + trials)]
        self.batches = Batches(trials)
        self.step = 0
        groups = zip(zip(*(trial.parameters for trial in self.trials), strict=True), space.steps, strict=True)
        self.optimizer = torch.optim.AdamW(
            [{"params": list(tensors), "lr": lr} for tensors, lr in groups], weight_decay=WEIGHT_DECAY
        )

    def run(
        self, steps: int, judge: Judge, report: Report, savepoint: Savepoint = NOWHERE, watch: Watch = unwatched
    ) -> list[Trial]:
        """At most `steps` steps; answers with the trials that were looked at. `report` may raise to stop."""

        def show(step: int, images: Mapping[int, Image.Image]) -> None:
            watch(step, [sight for trial in self.trials if (sight := trial.sight(images.get(trial.seed)))])
            report("optimize", step, steps, median(trial.state.bits for trial in self.trials if trial.state))

        if saved := savepoint.load():
            self._restore(saved)
        for step in range(self.step + 1, steps + 1):
            self.measure(step)
            show(step, {})
            images = self._check(self._due(step, steps), judge)
            if step % CHECK_EVERY == 0:
                self._halve()
            if images:
                show(step, images)
            if self._missing() <= 0 or all(trial.ended for trial in self.trials):
                break
            self.optimizer.step()
            self.step = step
            if step % CHECK_EVERY == 0:
                savepoint.save(self._saved())
        return [trial for trial in self.trials if trial.best]

    def measure(self, step: int) -> None:
        """Sample every moving trial's embedding and leave its gradient, unless it has arrived."""
        moving = [trial for trial in self.trials if trial.moving]
        states = self.batches.map(partial(self._differentiate, step), moving)
        for trial, (state, arrived) in zip(moving, states, strict=True):
            trial.state, trial.arrived = state, arrived
            if trial.arrived:
                self._rest(trial)

    def _differentiate(self, step: int, trials: list[Trial]) -> list[tuple[State, bool]]:
        for trial in trials:
            for tensor in trial.parameters:
                tensor.grad = None
        seeds = [trial.seed for trial in trials]
        image_embeds = self.space.sample([trial.parameters for trial in trials], noise_of(seeds))
        figures = Figures.of(self.density, image_embeds, self.space.positive.text_embeds)
        strict = torch.tensor([trial.strict for trial in trials], device=image_embeds.device)
        self.objective.loss(figures, strict).sum().backward()
        states = states_of(self.density, seeds, step, image_embeds, figures)
        return list(zip(states, self.objective.arrived(figures).tolist(), strict=True))

    def _missing(self) -> int:
        return ENOUGH * self.count - sum(trial.ready for trial in self.trials)

    def _due(self, step: int, steps: int) -> list[Trial]:
        """All that go on, every CHECK_EVERY steps and at the end; those that have arrived, once they could suffice."""
        going = [trial for trial in self.trials if not trial.ended]
        if step % CHECK_EVERY == 0 or step == steps:
            return going
        arrived = [trial for trial in going if trial.arrived]
        return arrived if len(arrived) >= self._missing() else []

    def _check(self, trials: list[Trial], judge: Judge) -> dict[int, Image.Image]:
        """Decode and judge; a pass at the target ends a trial, as a second failure does. Answers with the pictures."""
        states = [trial.state for trial in trials if trial.state]
        if not states:
            return {}
        verdicts = judge([state.seed for state in states], torch.stack([state.image_embeds for state in states]))
        for trial, state, (image, validity) in zip(trials, states, verdicts, strict=True):
            check = Checked(state, copied(trial.parameters), image, validity)
            trial.see(check)
            if check.passed:
                trial.ended = trial.arrived
            else:
                self._fall_back(trial)
        return {state.seed: image for state, (image, _) in zip(states, verdicts, strict=True)}

    def _halve(self) -> None:
        """End the less valid half of the trials that go on (successive halving, arXiv 1502.07943); without validity
        the half that is further from the target."""
        going = sorted((t for t in self.trials if not t.ended), key=self._promise, reverse=True)
        for trial in going[max(self._missing(), (len(going) + 1) // 2) :]:
            trial.ended = True
            self._rest(trial)

    def _promise(self, trial: Trial) -> tuple[float, float]:
        shell, d2 = self.objective.shell, trial.state.d2 if trial.state else 0.0
        return trial.validity or 0.0, -abs(d2 - (shell.lowest + shell.highest) / 2)

    def _fall_back(self, trial: Trial) -> None:
        """Return to the last values that passed, at first where it began, and be strict; once per trial."""
        trial.ended, trial.arrived, trial.strict = trial.strict, False, True
        good = trial.best.learnt if trial.best and trial.best.passed else self.space.start(trial.seed)
        for tensor, value in zip(trial.parameters, good, strict=True):
            tensor.data.copy_(value)
        self._rest(trial)

    def _rest(self, trial: Trial) -> None:
        """No gradient, no step, no momentum: AdamW would go on by it."""
        for tensor in trial.parameters:
            tensor.grad = None
            self.optimizer.state.pop(tensor, None)

    def _saved(self) -> Tree:
        trials = [trial.saved() for trial in self.trials]
        return {"step": self.step, "trials": trials, "moments": moments(self.optimizer)}

    def _restore(self, saved: Tree) -> None:
        self.step = saved["step"]
        for trial, own in zip(self.trials, saved["trials"], strict=True):
            trial.restore(own)
        set_moments(self.optimizer, saved["moments"])
