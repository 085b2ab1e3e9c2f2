"""Run a plan: every unit that is not there yet, then the report over all of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deploy.evaluate.case import Case, Sample
from deploy.evaluate.features import Features, Probe
from deploy.evaluate.measure import Measured, Yardstick, set_rows
from deploy.evaluate.methods import METHODS
from deploy.evaluate.plan import GROUP_SEEDS, Plan
from deploy.evaluate.reference import REFERENCES, SEED
from deploy.evaluate.report import Results, write_report
from deploy.evaluate.units import Finished, Unit, Units
from deploy.local import in_process
from deploy.local.stack.child import StackError
from services.diffusion.checkers.open_clip import OpenClipChecker
from services.diffusion.density.fit import Report
from services.diffusion.density.subject import Subject
from services.diffusion.run import LIBRARIES
from services.jobs.accepted import AcceptedRarity
from services.sampler.models import Models
from services.texts.concepts import DEFAULT_PROMPT

WAIT_S = 1.0


class Evaluation:
    """A plan on one checkpoint and one folder."""

    def __init__(self, plan: Plan, models: Models, units: Units, report: Report) -> None:
        self.plan, self.models, self.units, self.report = plan, models, units, report
        self.case = cache(self._case)

    def _case(self, concept: str) -> Case:
        """The concept with its density, which one process fits while others wait."""

        @contextmanager
        def fit_lock(key: str, report: Report) -> Iterator[Report]:
            with self.units.locked(key, wait=True):
                yield report

        if not isinstance(self.models.checker, OpenClipChecker):
            raise StackError("the evaluation needs an open_clip folder as RAREBIT_SCORER, whose nouns it uses")
        subject = Subject(concept, DEFAULT_PROMPT)
        return Case(
            model=self.models.model,
            checker=self.models.checker,
            subject=subject,
            density=self.models.densities.get(subject, self.report, fit_lock).density,
            target_bits=AcceptedRarity(percentile=self.plan.percentile).target_bits,
            steps=self.plan.steps,
            published_steps=self.plan.published_steps,
            report=self.report,
        )

    def sample_all(self, tell: Callable[[Finished], None]) -> None:
        """Do every unit that nobody has done or is doing; return when all are there."""
        pending = self.plan.all_units()
        while pending:
            left = [unit for unit in pending if not self._do(unit, tell)]
            if len(left) == len(pending):
                time.sleep(WAIT_S)  # other processes hold all that is left
            pending = left

    def _do(self, unit: Unit, tell: Callable[[Finished], None]) -> bool:
        """Whether the unit is there now."""
        settings = self._settings(unit)
        with self.units.locked(str(unit.path), wait=False) as mine:
            if mine and not self.units.is_done(unit, settings):
                finished = self._timed(unit)
                self.units.save(finished, settings)
                tell(finished)
            return mine

    def _timed(self, unit: Unit) -> Finished:
        draw = self._sampler(unit)
        wall, cpu = time.perf_counter(), time.process_time()
        sample = draw()
        return Finished(unit, sample, time.perf_counter() - wall, time.process_time() - cpu)

    def _sampler(self, unit: Unit) -> Callable[[], Sample]:
        """What is timed: no loading, and no fit of a density."""
        if unit.method in REFERENCES:
            model, draw = self.models.model, REFERENCES[unit.method]
            return lambda: draw(model, unit.concept, unit.count, unit.seed, self.report)
        case = self.case(unit.concept)
        return lambda: METHODS[unit.method](case, unit.count, unit.seed)

    def _settings(self, unit: Unit) -> dict[str, Any]:
        """All that a unit's pictures depend on, as JSON."""
        settings = asdict(unit) | {"prompt": DEFAULT_PROMPT, "model": self.models.model.fingerprint} | versions()
        if unit.method in REFERENCES:
            return settings
        asked = {name: getattr(self.plan, name) for name in ("percentile", "steps", "published_steps")}
        density = self.case(unit.concept).density.fingerprint
        return settings | asked | {"density": density, "checker": self.models.checker.fingerprint}

    def results(self) -> Results:
        """Measure what is there."""
        yardstick, target_bits = self.yardstick(), AcceptedRarity(percentile=self.plan.percentile).target_bits
        images, sets = [], []
        for method in self.plan.methods:
            measured = {concept: self._measured(yardstick, method, concept) for concept in self.plan.concepts}
            images += [row for units in measured.values() for unit in units for row in unit.rows]
            sets += set_rows(method, measured, yardstick.plain, target_bits)
        pictures = {unit: self.units.pictures(unit) for unit in self.plan.shown()}
        return Results(self._about(target_bits), images, sets, pictures)

    def yardstick(self) -> Yardstick:
        """Features and the judge, from the references that are there."""
        features = Features()
        seen = {
            concept: [features(self.units.load(unit).sample.images) for unit in units]
            for concept, units in self.plan.references().items()
        }
        judge = Probe.fit({concept: np.concatenate(parts) for concept, parts in seen.items()})
        return Yardstick(features, judge, {concept: parts[0] for concept, parts in seen.items()})

    def _measured(self, yardstick: Yardstick, method: str, concept: str) -> list[Measured]:
        case = self.case(concept)
        return [yardstick.measure(case, self.units.load(unit)) for unit in self.plan.units(method, concept)]

    def _about(self, target_bits: float) -> dict[str, Any]:
        fingerprints = {
            "model": self.models.model.fingerprint,
            "checker": self.models.checker.fingerprint,
            "densities": {concept: self.case(concept).density.fingerprint for concept in self.plan.concepts},
        }
        seeds = [GROUP_SEEDS * (1 + group) for group in range(self.plan.groups)]
        return {
            "settings": asdict(self.plan),
            "judged": self.plan.judged,
            "target_bits": target_bits,
            "group_seeds": seeds,
            "reference_seed": SEED,
            "fingerprints": fingerprints,
            "versions": versions(),
            "threads": torch.get_num_threads(),
        }


def versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def evaluate(plan: Plan, out: Path, data: Path, report: Report) -> Path:
    """Fill the folder `out`, which other processes may be filling too, and return its index.html."""
    units = Units(out)
    evaluation = Evaluation(plan, in_process.load(data), units, report)
    evaluation.sample_all(_say)
    with units.locked("report", wait=True):
        return write_report(evaluation.results(), out)


def _say(finished: Finished) -> None:
    unit = finished.unit
    print(f"{unit.method}, {unit.concept}, seed {unit.seed}: {unit.count} images in {finished.wall_s:.1f} s")
