"""The embedded checkpoint, its densities and an independent judge, which are kept in data/bench."""

import sys
from functools import cache
from pathlib import Path

from deploy.evaluate.measure import Yardstick
from deploy.evaluate.plan import Plan
from deploy.evaluate.run import Evaluation
from deploy.evaluate.units import Units
from deploy.local import in_process
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.sampler.models import Models
from services.texts.concepts import DEFAULT_PROMPT

DATA = Path("data/bench")
REFERENCE = 48  # pictures of each kind and concept that teach the judge


def progress(phase: str, step: int, steps: int, bits: float | None) -> None:
    """One line on stderr that overwrites itself."""
    print(f"\r{phase} {step}/{steps} {'' if bits is None else f'{bits:.1f} bits'}   ", end="", file=sys.stderr)


@cache
def models() -> Models:
    return in_process.load(DATA)


def subject(concept: str) -> Subject:
    return Subject(concept, DEFAULT_PROMPT)


@cache
def density(concept: str) -> DensityModel:
    """The concept's density, fitted unless it was before."""
    return in_process.density(models(), subject(concept), progress)


@cache
def yardstick() -> Yardstick:
    """Features and a judge that no loss and no selection uses, from pictures that are drawn unless they were before."""
    nothing = Plan([], [], images=2, groups=1, percentile=99.9, steps=1, published_steps=1, reference=REFERENCE)
    evaluation = Evaluation(nothing, models(), Units(DATA / "evaluation"), progress)
    evaluation.sample_all(lambda _finished: None)
    return evaluation.yardstick()
