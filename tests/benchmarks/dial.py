"""Rarity is a dial: bits asked for, bits obtained."""

from collections.abc import Iterator

from services.diffusion.generate import generate
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.trials import MIN_VALIDITY
from tests.benchmarks import setup

from statistics import fmean, median  # isort: skip

CONCEPTS = ["handbag", "chair", "cup"]
ASKED, COUNT, SEED = (5.0, 10.0, 15.0, 20.0), 8, 3000


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| concept | asked | median bits | lowest | highest | valid, scorer | valid, judge | warnings |"
    yield "|---|---|---|---|---|---|---|---|"
    models = setup.models()
    for concept in CONCEPTS:
        density, yardstick = setup.density(concept), setup.yardstick()
        for asked in ASKED:
            parts = (models.model, density, models.checker, setup.subject(concept))
            made = generate(Run(*parts, GenerationConfig(asked, SEED, COUNT)), setup.progress)
            bits = [output.rarity["bits"] for output in made.outputs]
            judged = yardstick.judge.p_valid(yardstick.features([o.image for o in made.outputs]), concept)
            valid = fmean(output.validity >= MIN_VALIDITY for output in made.outputs)
            yield (
                f"| {concept} | {asked:.0f} | {median(bits):.1f} | {min(bits):.1f} | {max(bits):.1f} | {valid:.0%} | "
                f"{fmean(judged >= MIN_VALIDITY):.0%} | {'; '.join(made.warnings)} |"
            )
