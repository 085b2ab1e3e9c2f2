"""Steering works: likeness to what is avoided falls, to what is wished for rises, at unchanged validity.

Likeness is between the scorer's embeddings, which no loss uses, after what all handbags have in common is taken off:
cosine of (picture − mean plain picture) to (target − its own centre). An output is one of the same seed, as when a
designer judges what has just come; the words are colours.
"""

from collections.abc import Iterator
from functools import cache
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion.generate import generate, sample_plain
from services.diffusion.outputs import Output
from services.diffusion.recipe import Recipe
from services.diffusion.steering import UNSTEERED, Steering, Wish, steer
from services.diffusion.validity import TEMPLATE
from tests.benchmarks import setup

CONCEPT, WORDS = "handbag", ("red", "blue")
SEEDS, COUNT, BITS, PLAIN = range(20_000, 30_000, 1000), 4, 9.97, 48

Target = Float[Tensor, "width"]


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| wish | seeds that moved its way | likeness, unsteered | steered | validity, unsteered | steered |"
    yield "|---|---|---|---|---|---|"
    for kind in ("avoid", "toward"):
        for name in ("an output", *WORDS):
            yield row(kind, name)


def row(kind: str, name: str) -> str:
    before, after, valid = list[float](), list[float](), [list[float](), list[float]()]
    for seed in SEEDS:
        first, *others = unsteered(seed)
        wish, target = (first.image_embeds[None], embeds_of([first])[0]) if name == "an output" else (name, words(name))
        steered = outputs_of(seed, steering_of(kind, wish))
        before.append(likeness(others, target))
        after.append(likeness(steered, target))
        for column, outputs in zip(valid, (others, steered), strict=True):
            column += [output.validity for output in outputs]
    sign = 1 if kind == "toward" else -1
    moved = sum(sign * (b - a) > 0 for a, b in zip(before, after, strict=True))
    figures = (fmean(before), fmean(after), *map(fmean, valid))
    return f"| {kind} {name} | {moved} of {len(SEEDS)} | {' | '.join(f'{x:.2f}' for x in figures)} |"


def steering_of(kind: str, wish: Wish) -> Steering:
    wishes = {"avoid": [], "toward": []} | {kind: [wish]}
    return steer(setup.models().model, setup.density(CONCEPT), **wishes, history=None, report=setup.progress)


@cache
def unsteered(seed: int) -> list[Output]:
    return outputs_of(seed, UNSTEERED)


def outputs_of(seed: int, steering: Steering) -> list[Output]:
    models, recipe = setup.models(), Recipe(BITS, seed, COUNT)
    return generate(models.model, setup.density(CONCEPT), models.checker, recipe, setup.progress, steering).outputs


@cache
def typical() -> Target:
    """The mean embedding of plain pictures."""
    models, density = setup.models(), setup.density(CONCEPT)
    recipe, seeds = Recipe(BITS, 0), list(range(PLAIN))
    plain = sample_plain(models.model, density, models.checker, recipe, setup.progress, seeds)
    return models.checker.embed([output.image for output in plain]).mean(0)


@torch.no_grad()
def words(word: str) -> Target:
    """What the word adds to the concept, in the scorer's embedding of texts."""
    checker = setup.models().checker
    tokens = checker.tokenizer([TEMPLATE.format(phrase) for phrase in (f"{word} {CONCEPT}", CONCEPT)])
    described, concept = checker.model.encode_text(tokens, normalize=True)
    return described - concept


def embeds_of(outputs: list[Output]) -> Float[Tensor, "images width"]:
    """What is not typical in each picture."""
    return setup.models().checker.embed([output.image for output in outputs]) - typical()


def likeness(outputs: list[Output], target: Target) -> float:
    return float(cosine_similarity(embeds_of(outputs), target[None]).mean())
