"""Subject → images: the use case."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from services.diffusion.checkers.open_clip import Checker
from services.diffusion.checkers.safety import SafetyChecker, is_safe
from services.diffusion.density.fit import Report
from services.diffusion.density.model import DensityModel
from services.diffusion.found import Found
from services.diffusion.judge import Judge
from services.diffusion.kandinsky.decoder import Decoder, DecodeSettings
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.optimize import Optimization
from services.diffusion.paper import DEVIATION, Paper, look, unchecked
from services.diffusion.replay import GenerationConfig, from_json
from services.diffusion.run import Output, Run, Rung
from services.diffusion.runtime.batching import ALONE, Batching
from services.diffusion.runtime.observer import Observer, unobserved
from services.diffusion.runtime.savepoint import NOWHERE, Savepoint
from services.diffusion.steering.objective import SHELL_BITS, Figures, Objective
from services.diffusion.steering.spaces import Space
from services.diffusion.trials import Checked, Trial, columns, ranked, states_of
from services.errors import ReplayError, UnsafeContentError

Chosen = tuple[Checked, Rung | None]


@dataclass(frozen=True)
class Generation:
    """What a run gives; `timings_ms` has optimize, check and decode."""

    outputs: list[Output]
    warnings: list[str]
    timings_ms: dict[str, int]

    def withhold(self, safety: SafetyChecker | None) -> "Generation":
        """What is left without unsafe pictures, with a warning of them; UnsafeContentError when nothing is left."""
        safe = [output for output in self.outputs if is_safe(output.image, safety)]
        count = len(self.outputs)
        if (withheld := count - len(safe)) == 0:
            return self
        warning = f"{withheld} of {count} images {'was' if withheld == 1 else 'were'} withheld by content safety"
        if not safe:
            raise UnsafeContentError(warning)
        return replace(self, outputs=safe, warnings=[*self.warnings, warning])


def generate(
    run: Run,
    report: Report,
    savepoint: Savepoint = NOWHERE,
    observer: Observer = unobserved,
    batching: Batching = ALONE,
) -> Generation:
    """`run.config.count` pictures of the subject at the wanted rarity, each the best of its trial; with a ladder as
    many columns, one after the other, each of the pictures of one trial at the rungs that it passed; of a found thing
    the most valid pictures of as many as there would be trials.

    From a savepoint of the same run it goes on, with the pictures that it would have given without a break. `observer`
    sees the trials before each step is reported. `batching` is how rows come to the device, by themselves at first.

    ValueError for a target, space or number of trials that cannot be. Whatever `report` raises passes through.
    """
    judge = Judge(run.model.decoder, run.checker, run.subject.concept, run.candidate, run.settings, report, batching)
    begin = time.perf_counter()
    work = _Work(run, judge, report, savepoint.of(run.described()), observer, batching)
    with batching.joined():
        chosen, warnings = work.make()
    warnings += unusual(run.settings, run.model.decoder)
    outputs = [run.output(check, rung) for check, rung in chosen]
    optimize_s = time.perf_counter() - begin - judge.decode_s - judge.check_s
    seconds = {"optimize": optimize_s, "check": judge.check_s, "decode": judge.decode_s}
    told = [*run.steering.warnings, *judge.reading.warnings(), *warnings]
    return Generation(outputs, told, {name: round(1000 * value) for name, value in seconds.items()})


def replay(
    model: Kandinsky,
    density: DensityModel,
    checker: Checker,
    block: dict[str, Any],
    report: Report,
    found: Found | None = None,
) -> Output:
    """The output that `block` came with, bit for bit on the same machine; ReplayError where that cannot be.

    That of a found thing needs it.
    """
    config, subject, steering = from_json(block["recipe"])
    own = {"model": model.fingerprint, "density": density.fingerprint, "checker": checker.fingerprint}
    same = {part: block[part] == fingerprint for part, fingerprint in own.items()}
    same["density"] = density.is_named(block["density"], subject)
    for part, fingerprint in own.items():
        if not same[part]:
            raise ReplayError(f"the picture is of the {part} {block[part][:12]}, this one is {fingerprint[:12]}")
    if "found" not in block:
        found = None
    elif found is None or found.digest != block["found"]:
        given = f"this one is {found.digest[:12]}" if found else "whose file is needed"
        raise ReplayError(f"the picture is of the found thing {block['found'][:12]}, {given}")
    with threads(block["threads"]):
        generation = generate(Run(model, density, checker, subject, config, steering, found), report)
    for output in generation.outputs:
        if output.seed == block["row_seed"] and output.replay.get("rung") == block.get("rung"):
            return output
    raise ReplayError(f"no picture of the run has the seed {block['row_seed']}{_at_rung(block.get('rung'))}")


def _at_rung(rung: int | None) -> str:
    return "" if rung is None else f" and the rung {rung}"


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Sums on a CPU are split over so many threads, and rounded accordingly."""
    own = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(own)


def sample_plain(run: Run, report: Report, seeds: list[int]) -> list[Output]:
    """What the prompt gives without steering, a picture for each seed."""
    judge = Judge(run.model.decoder, run.checker, run.subject.concept, run.settings, run.settings, report, ALONE)
    space = Space(run.model, run.subject, ["token"])
    return [run.output(check) for check in look(space, run.density, space.start(0), seeds, 0, judge)]


@dataclass(frozen=True)
class _Work:
    """How the pictures are made, either way; each answers with what is handed out, and with warnings."""

    run: Run
    judge: Judge
    report: Report
    savepoint: Savepoint
    observer: Observer
    batching: Batching

    def make(self) -> tuple[list[Chosen], list[str]]:
        config = self.run.config
        if self.run.found:
            chosen, warnings = self.again(self.run.found)
        elif config.mode == "paper":
            chosen, warnings = self.paper()
        elif config.ladder:
            return self.ladder()
        else:
            chosen, warnings = self.calibrated()
        return [(check, None) for check in chosen], warnings

    @torch.no_grad()
    def again(self, found: Found) -> tuple[list[Checked], list[str]]:
        """One embedding, and a drawing of it for each seed."""
        run, config = self.run, self.run.config
        image_embeds, learnt = found.sample(run.space, config.found_strength)
        figures = Figures.of(run.density, image_embeds[None], run.space.positive.text_embeds)
        [state] = states_of(run.density, [config.seed], 0, image_embeds[None], figures.table(run.density))
        states = [replace(state, seed=config.seed + i) for i in range(trials_of(config))]
        verdicts = self.judge([state.seed for state in states], image_embeds.expand(len(states), -1))
        checks = [Checked(state, learnt, *verdict) for state, verdict in zip(states, verdicts, strict=True)]
        best_first = sorted(checks, key=lambda check: check.validity or 0.0, reverse=True)
        chosen = self.judge.hand_out(best_first, config.count)
        return chosen, doubtful(chosen)

    def calibrated(self) -> tuple[list[Checked], list[str]]:
        density, config = self.run.density, self.run.config
        objective = Objective(density, config.target_bits, self.run.steering)
        chosen = self.judge.hand_out(ranked(self._optimized(objective), config.variety), config.count)
        below = density.d2_at(config.target_bits)
        return chosen, shortfalls(chosen, below, config.target_bits) + self._astray(objective, chosen)

    def ladder(self) -> tuple[list[Chosen], list[str]]:
        density, config = self.run.density, self.run.config
        objective = Objective(density, config.ladder[-1], self.run.steering)
        climbed = self.judge.hand_out_columns(columns(self._optimized(objective)), config.count)
        chosen = [
            (check, Rung(number, index, bits))
            for number, column in enumerate(climbed)
            for index, (bits, check) in enumerate(zip(config.ladder, column, strict=False))
        ]
        checks = [check for check, _ in chosen]
        short = unclimbed(climbed, config.count, config.ladder, density)
        return [*chosen], short + doubtful(checks) + self._astray(objective, checks)

    def _optimized(self, objective: Objective) -> list[Trial]:
        """The trials that were looked at; of a ladder each rung has the steps of a single target."""
        config = self.run.config
        optimization = Optimization(
            self.run.space,
            self.run.density,
            objective,
            seed=config.seed,
            trials=trials_of(config),
            count=config.count,
            ladder=config.ladder,
            batching=self.batching,
        )
        steps = config.steps * max(1, len(config.ladder))
        return optimization.run(steps, self.judge, self.report, self.savepoint, self.observer)

    def _astray(self, objective: Objective, chosen: list[Checked]) -> list[str]:
        return objective.astray(torch.stack([check.state.image_embeds for check in chosen]))

    def paper(self) -> tuple[list[Checked], list[str]]:
        density, config = self.run.density, self.run.config
        if config.trials not in (None, 1):
            raise ValueError(f"the mode paper has one trial, got {config.trials}")
        if config.ladder:
            raise ValueError(f"the mode paper has no ladder, got {list(config.ladder)}")
        paper = Paper(self.run.space, density, self.run.steering, seed=config.seed)
        looked_at = paper.run(config.count, config.steps, self.judge, self.report, self.savepoint, self.observer)
        chosen = self.judge.draw(looked_at)
        missed = shortfalls(chosen, density.d2_at(config.target_bits), config.target_bits)
        return chosen, [DEVIATION, *unchecked(self.judge.reading), *missed]


def trials_of(config: GenerationConfig) -> int:
    """How many trials there are; ValueError for fewer than pictures."""
    trials = trials_for(config.count) if config.trials is None else config.trials
    if not 1 <= config.count <= trials:
        raise ValueError(f"{config.count} images need at least as many trials, got {trials}")
    return trials


def trials_for(count: int) -> int:
    """Trials that leave a choice when half of them lose the concept: 8 for one image, 20 for four, never above 64."""
    return min(64, 4 * count + 4)


def unusual(settings: DecodeSettings, decoder: Decoder) -> list[str]:
    """A sentence for a size that the model was not trained for."""
    own, size = decoder.defaults.size, settings.size
    if size == own:
        return []
    if isinstance(size, int):
        return [f"the model is made for pictures of {own} pixels, not {size}"]
    return [f"the model is made for squares of {own} pixels: at {size} things may be stretched or doubled"]


def shortfalls(chosen: list[Checked], d2: float, bits: float) -> list[str]:
    """What was asked for and could not be had, a sentence each."""
    if not (common := sum(check.state.d2 < d2 for check in chosen)):
        return doubtful(chosen)
    best = max(check.state.bits for check in chosen)
    below = f"{common} of {len(chosen)} images are below {bits:.1f} bits; the rarest has {best:.1f}"
    return [below, *doubtful(chosen)]


def doubtful(chosen: list[Checked]) -> list[str]:
    """A sentence when some are not clearly of the concept."""
    if not (unlike := sum(not check.passed for check in chosen)):
        return []
    least = min(check.validity for check in chosen if check.validity is not None)
    return [f"{unlike} of {len(chosen)} images are not clearly of the concept; the least has validity {least:.2f}"]


def unclimbed(climbed: list[list[Checked]], count: int, ladder: Sequence[float], density: DensityModel) -> list[str]:
    """A sentence for each column that ends before the last rung, and one for those that do not come to the first."""
    (lowest, highest), first = map(density.d2_at, (ladder[0], ladder[0] + SHELL_BITS)), climbed[0][0]
    found = []
    for number, column in enumerate(climbed):
        if len(column) < len(ladder):
            missed = f"no valid picture of it was found at {ladder[len(column)]:g} bits"
            found.append(f"column {number} ends at {column[-1].state.bits:.1f} bits: {missed}")
    if not (first.passed and lowest <= first.state.d2 <= highest):
        return [f"no valid picture was found at {ladder[0]:g} bits: the best that there is has {first.state.bits:.1f}"]
    if (absent := count - len(climbed)) > 0:
        found.append(f"{absent} of {count} columns are not there: no more trials came to {ladder[0]:g} bits")
    return found
