"""The calibrated mode: many short trials in one batch, each drawn to the wanted rarity, until enough have arrived."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from statistics import median
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from services.diffusion.density.fit import Report
from services.diffusion.density.model import DensityModel
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.runtime.batching import ALONE, Batching
from services.diffusion.runtime.observer import Observer, Snapshot, unobserved
from services.diffusion.runtime.savepoint import NOWHERE, Savepoint, Tree
from services.diffusion.steering.adamw import AdamW
from services.diffusion.steering.objective import Figures, Objective, Shell
from services.diffusion.steering.spaces import Parameters, Space, sample_together
from services.diffusion.trials import Checked, State, Trial, copied, state_of

CHECK_EVERY = 25
ENOUGH = 2  # ready trials for every image, of which the more valid are chosen

DecodeAndCheck = Callable[
    [list[int], Tensor], list[tuple[Image.Image, float | None]]
]  # of seeds and embeddings, as `Judge`


class Optimization:
    """Trials that move side by side and share nothing but the frozen weights; row i keeps the noise of seed + i.

    With a `ladder` of bits, ascending, each trial is drawn to one rung after the other: to the next as soon as it has
    arrived at one and is seen to be valid there.
    """

    def __init__(
        self,
        space: Space,
        density: DensityModel,
        objective: Objective,
        *,
        seed: int,
        trials: int,
        count: int,
        ladder: Sequence[float] = (),
        batching: Batching = ALONE,
    ) -> None:
        self.space, self.density, self.objective, self.count = space, density, objective, count
        self.ladder = [Shell.of(density, bits) for bits in ladder]
        seeds = list(range(seed, seed + trials))
        self.parameters = [torch.stack(part) for part in zip(*(space.start(s) for s in seeds), strict=True)]
        self.trials = [Trial(s, [part[row] for part in self.parameters]) for row, s in enumerate(seeds)]
        self.noise = space.noise(noise_of(seeds), trials)
        self.optimizer = AdamW(self.parameters, space.steps)
        self.batcher = batching.steps()
        self.step = 0

    def run(
        self,
        steps: int,
        judge: DecodeAndCheck,
        report: Report,
        savepoint: Savepoint = NOWHERE,
        observer: Observer = unobserved,
    ) -> list[Trial]:
        """At most `steps` steps; answers with the trials that were looked at. `report` may raise to stop."""

        def show(step: int, images: Mapping[int, Image.Image]) -> None:
            observer(step, self._snapshots(images))
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
        moving = [Moving(self, step, row) for row, trial in enumerate(self.trials) if trial.moving]
        found = self.batcher.map(differentiate, moving, ("step", *self.space.shape))
        for one, (state, arrived) in zip(moving, found, strict=True):
            trial = self.trials[one.row]
            trial.state, trial.arrived = state, arrived
            if arrived:
                (self.optimizer.hold if self.ladder else self.optimizer.rest)(one.row)

    def shell(self, trial: Trial) -> Shell:
        """What the trial is drawn to, or was last."""
        return self.ladder[min(len(trial.climbed), len(self.ladder) - 1)] if self.ladder else self.objective.shell

    def _snapshots(self, images: Mapping[int, Image.Image]) -> list[Snapshot]:
        shown = [trial.snapshot(images.get(trial.seed), ladder=bool(self.ladder)) for trial in self.trials]
        return [snapshot for snapshot in shown if snapshot]

    def _missing(self) -> int:
        return ENOUGH * self.count - sum(trial.ready for trial in self.trials)

    def _due(self, step: int, steps: int) -> list[Trial]:
        """All that go on, every CHECK_EVERY steps and at the end; those that have arrived, once they could suffice, and
        on a ladder once nobody else moves: the rest of the way is still before them."""
        going = [trial for trial in self.trials if not trial.ended]
        if step % CHECK_EVERY == 0 or step == steps:
            return going
        arrived = [trial for trial in going if trial.arrived]
        enough = len(arrived) >= self._missing() or (bool(self.ladder) and arrived == going)
        return arrived if enough else []

    def _check(self, trials: list[Trial], judge: DecodeAndCheck) -> dict[int, Image.Image]:
        """Decode and judge; a pass at the target ends a trial, as a second failure does. Answers with the pictures."""
        states = [trial.state for trial in trials if trial.state]
        if not states:
            return {}
        verdicts = judge([state.seed for state in states], torch.stack([state.image_embeds for state in states]))
        for trial, state, (image, validity) in zip(trials, states, verdicts, strict=True):
            check = Checked(state, copied(trial.parameters), image, validity)
            trial.see(check)
            if not check.passed:
                self._fall_back(trial)
            elif trial.arrived:
                trial.climb(check, max(1, len(self.ladder)))
        return {state.seed: image for state, (image, _) in zip(states, verdicts, strict=True)}

    def _halve(self) -> None:
        """End the less valid half of the trials that go on (successive halving, arXiv 1502.07943); without validity
        the half that is further from the target."""
        going = sorted((t for t in self.trials if not t.ended), key=self._promise, reverse=True)
        for trial in going[max(self._missing(), (len(going) + 1) // 2) :]:
            trial.ended = True
            self._rest(trial)

    def _promise(self, trial: Trial) -> tuple[int, float, float]:
        d2 = trial.state.d2 if trial.state else 0.0
        return len(trial.climbed), trial.validity or 0.0, -self.shell(trial).off(d2)

    def _fall_back(self, trial: Trial) -> None:
        """Return to the last values that passed, at first where it began, and be strict; once per trial."""
        trial.ended, trial.arrived, trial.strict = trial.strict, False, True
        good = trial.best.learnt if trial.best and trial.best.passed else self.space.start(trial.seed)
        for tensor, value in zip(trial.parameters, good, strict=True):
            tensor.copy_(value)
        self._rest(trial)

    def _rest(self, trial: Trial) -> None:
        self.optimizer.rest(self.trials.index(trial))

    def _saved(self) -> Tree:
        trials = [trial.saved() for trial in self.trials]
        return {"step": self.step, "trials": trials, "moments": self.optimizer.saved()}

    def _restore(self, saved: Tree) -> None:
        self.step = saved["step"]
        for trial, own in zip(self.trials, saved["trials"], strict=True):
            trial.restore(own)
        self.optimizer.restore(saved["moments"])


class Moving(NamedTuple):
    """A row of a run that is at this step."""

    run: Optimization
    step: int
    row: int


@dataclass(frozen=True)
class Part:
    """Rows of one run as a step differentiates them."""

    run: Optimization
    rows: list[int]
    parameters: Parameters
    noise: Float[Tensor, "steps rows dim"]
    strict: Bool[Tensor, "rows"]
    shell: Shell

    @classmethod
    def of(cls, run: Optimization, rows: list[int]) -> "Part":
        parameters = [part[rows].requires_grad_() for part in run.parameters]
        device = run.noise.device
        strict = torch.tensor([run.trials[row].strict for row in rows], device=device)
        shells = [run.shell(run.trials[row]) for row in rows] if run.ladder else []
        shell = Shell.of_rows(shells, device) if shells else run.objective.shell
        return cls(run, rows, parameters, run.noise[:, rows], strict, shell)

    def loss(self, image_embeds: Float[Tensor, "rows dim"]) -> tuple[Float[Tensor, ""], Float[Tensor, "figures rows"]]:
        """The rows' own, and the figures with who has arrived."""
        density, objective = self.run.density, self.run.objective
        figures = Figures.of(density, image_embeds, self.run.space.positive.text_embeds)
        table = torch.cat([figures.table(density), objective.arrived(figures, self.shell)[None]])
        return objective.loss(figures, self.strict, self.shell).sum(), table


def differentiate(moving: list[Moving], _tell: Callable[[int], None]) -> list[tuple[State, bool]]:
    """Where each row is, and whether it has arrived; its gradient is left with its run.

    Rows of several runs, whose spaces are alike, are sampled and differentiated as one batch.
    """
    space = moving[0].run.space
    rows = space.model.graphs.rows(len(moving))  # the last again and again, up to as many as a graph has
    filled = moving + [moving[-1]] * (rows - len(moving))
    parts = [Part.of(run, [one.row for one in own]) for run, own in groupby(filled, key=attrgetter("run"))]
    loss, image_embeds, table = losses(parts)
    gradients = iter(torch.autograd.grad(loss, [own for part in parts for own in part.parameters]))
    for part in parts:
        part.run.optimizer.take(part.rows, tuple(islice(gradients, len(part.parameters))))
    columns = zip(*table.tolist(), strict=True)
    return [
        (state_of(one.run.density, one.run.trials[one.row].seed, one.step, embeds, figures), bool(arrived))
        for one, embeds, (*figures, arrived) in zip(moving, image_embeds, columns, strict=False)
    ]


def losses(
    parts: list[Part],
) -> tuple[Float[Tensor, ""], Float[Tensor, "rows dim"], Float[Tensor, "figures rows"]]:
    """The parts' loss, differentiable in their parameters, where it was taken, and the figures with who has arrived.

    Nothing is read from the device, so that it can be one graph.
    """
    image_embeds = sample_together([(part.run.space, part.parameters, part.noise) for part in parts])
    own = image_embeds.split([len(part.rows) for part in parts])
    each, tables = zip(*(part.loss(embeds) for part, embeds in zip(parts, own, strict=True)), strict=True)
    return torch.stack(each).sum(), image_embeds.detach(), torch.cat(tables, dim=1)
