"""Rungs of a ladder: bits asked for and obtained, and how alike pictures are along a column and across columns."""

from collections.abc import Iterator
from itertools import combinations, groupby, pairwise
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion.generate import generate
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Output, Run
from services.diffusion.trials import MIN_VALIDITY
from tests.benchmarks import setup

CONCEPTS = ["handbag", "chair", "cup"]
LADDER, COUNT, SEED = (2.0, 5.0, 10.0, 15.0, 20.0), 3, 3000


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| concept | columns | rungs passed | bits beyond | valid, scorer | along | across | warnings |"
    yield "|---|---|---|---|---|---|---|---|"
    models = setup.models()
    for concept in CONCEPTS:
        density = setup.density(concept)
        config = GenerationConfig(LADDER[-1], SEED, COUNT, ladder=LADDER)
        made = generate(Run(models.model, density, models.checker, setup.subject(concept), config), setup.progress)
        columns = [list(own) for _, own in groupby(made.outputs, lambda output: output.rung.column)]
        beyond = max(abs(output.rarity["bits"] - output.rung.bits) for output in made.outputs)
        valid = fmean((output.validity or 0) >= MIN_VALIDITY for output in made.outputs)
        along, across = likenesses(columns, density.subspace.mean.float())
        yield (
            f"| {concept} | {len(columns)} | {len(made.outputs)} of {COUNT * len(LADDER)} | {beyond:.2f} | "
            f"{valid:.0%} | {spread(along)} | {spread(across)} | {'; '.join(made.warnings)} |"
        )


def likenesses(columns: list[list[Output]], mean: Tensor) -> tuple[list[float], list[float]]:
    """Cosines, without what all pictures of the concept share: of neighbours on a column, and of columns at a rung."""

    def cosine(one: Output, other: Output) -> float:
        return float(cosine_similarity(one.image_embeds - mean, other.image_embeds - mean, dim=0))

    along = [cosine(*pair) for column in columns for pair in pairwise(column)]
    across = [cosine(*pair) for one, other in combinations(columns, 2) for pair in zip(one, other, strict=False)]
    return along, across


def spread(cosines: list[float]) -> str:
    """Their mean, the lowest and the highest."""
    values = torch.tensor(cosines)
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"
