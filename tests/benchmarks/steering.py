"""Steering works: likeness to what is avoided falls, to what is wished for rises, at unchanged validity."""

from collections.abc import Iterator
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor

from services.diffusion.generate import generate
from services.diffusion.outputs import Output
from services.diffusion.recipe import Recipe
from services.diffusion.steering import UNSTEERED, Steering, steer
from services.diffusion.validity import TEMPLATE
from tests.benchmarks import setup

CONCEPT, WORDS = "handbag", ("red", "blue", "brown")
SEEDS, COUNT, BITS = range(4000, 4010), 4, 9.97


def lines() -> Iterator[str]:
    """Markdown, a line at a time; cosines are the scorer's, between pictures and words: no loss uses them."""
    yield "| wish | seeds that moved its way | cosine, unsteered | steered | validity, unsteered | steered |"
    yield "|---|---|---|---|---|---|"
    plain = [outputs_of(seed, UNSTEERED) for seed in SEEDS]
    for kind, wish, target in wishes(plain[0][0]):
        steering = steer(
            setup.models().model,
            setup.density(CONCEPT),
            **({"avoid": [], "toward": []} | {kind: [wish]}),
            history=None,
            report=setup.progress,
        )
        steered = [outputs_of(seed, steering) for seed in SEEDS]
        before, after = ([cosine(outputs, target) for outputs in run] for run in (plain, steered))
        sign = 1 if kind == "toward" else -1
        moved = sum(sign * (b - a) > 0 for a, b in zip(before, after, strict=True))
        valid = [fmean(o.validity for outputs in run for o in outputs) for run in (plain, steered)]
        name = wish if isinstance(wish, str) else "an earlier output"
        yield (
            f"| {kind} {name} | {moved} of {len(SEEDS)} | {fmean(before):.3f} | {fmean(after):.3f} | {valid[0]:.2f} | "
            f"{valid[1]:.2f} |"
        )


def wishes(output: Output) -> Iterator[tuple[str, str | Tensor, Float[Tensor, "width"]]]:
    """Both directions of words and of an output, and the scorer's embedding of each target."""
    checker = setup.models().checker
    for word in WORDS:
        words = checker.tokenizer([TEMPLATE.format(f"{word} {CONCEPT}")])
        (target,) = checker.model.encode_text(words, normalize=True)
        yield "avoid", word, target
        yield "toward", word, target
    (seen,) = checker.embed([output.image])
    yield "avoid", output.cluster, seen
    yield "toward", output.cluster, seen


def outputs_of(seed: int, steering: Steering) -> list[Output]:
    models, recipe = setup.models(), Recipe(BITS, seed, COUNT)
    return generate(models.model, setup.density(CONCEPT), models.checker, recipe, setup.progress, steering).outputs


@torch.no_grad()
def cosine(outputs: list[Output], target: Float[Tensor, "width"]) -> float:
    embeds = setup.models().checker.embed([output.image for output in outputs])
    return float((embeds @ target).mean())
