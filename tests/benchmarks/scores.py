"""Rows of figures over pictures, as Markdown."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, median

import torch
from PIL import Image

from deploy.evaluate.metrics import vendi_score
from services.diffusion.trials import MIN_VALIDITY
from tests.benchmarks import setup

HEAD = (
    "| | images | median bits | reached | valid, scorer | valid, judge | valid and rare | Vendi | CPU s | "
    "valid and rare per CPU s |\n|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Made:
    """Pictures of one call, each with the d² of its embedding."""

    concept: str
    images: list[Image.Image]
    d2: list[float]


def made_of(concept: str, images: list[Image.Image], image_embeds: torch.Tensor) -> Made:
    return Made(concept, images, setup.density(concept).d2(image_embeds).tolist())


def row(name: str, calls: Iterable[Callable[[], Made]], target_bits: float) -> str:
    """One line over all calls; valid and rare is by the judge that nothing selects with."""
    begin = time.process_time()
    made = [call() for call in calls]
    taken = time.process_time() - begin
    yardstick, checker = setup.yardstick(), setup.models().checker
    bits, scorer, judge, vendi = [], [], [], []
    for one in made:
        features = yardstick.features(one.images)
        bits += [setup.density(one.concept).bits(x) for x in one.d2]
        scorer += checker.p_valid(one.images, one.concept).tolist()
        judge += yardstick.judge.p_valid(features, one.concept).tolist()
        vendi.append(vendi_score(features))
    reached = [b >= target_bits for b in bits]
    both = sum(r and p >= MIN_VALIDITY for r, p in zip(reached, judge, strict=True))
    rates = (share(reached), *(share(p >= MIN_VALIDITY for p in column) for column in (scorer, judge)))
    cells = [f"{median(bits):.1f}", *(f"{rate:.0%}" for rate in rates), f"{both / len(bits):.0%}"]
    return f"| {name} | {len(bits)} | {' | '.join(cells)} | {fmean(vendi):.2f} | {taken:.0f} | {both / taken:.3f} |"


def share(flags: Iterable[bool]) -> float:
    return fmean(flags)
