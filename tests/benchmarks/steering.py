"""Steering works: likeness to what is avoided falls, to what is wished for rises, at unchanged validity.

Three eyes look. The first is what steering works on, the embedding that is decoded; the second the picture's own
embedding, by the checkpoint's vision tower: cosines after the density's mean is taken off. The third no part of the
method has: of a colour the pixels, of an output the scorer's embedding of the picture. An output is one of the same
seed, as when a designer judges what has just come; the words are colours.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion.density.fit import draw_baseline
from services.diffusion.generate import generate, sample_plain
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Output, Run
from services.diffusion.steering.clusters import TEXT_SAMPLES, TEXT_SEED, UNSTEERED, Steering, Wish, steer
from tests.benchmarks import setup

CONCEPT, CHANNELS = "handbag", {"red": 0, "blue": 2}
SEEDS, COUNT, BITS, PLAIN = range(20_000, 30_000, 1000), 4, 9.97, 48
BACKGROUND = 0.3  # the sum over channels by which what is shown differs from the picture's edge

Target = Float[Tensor, "width"]
Eye = Callable[[list[Output]], float]


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| wish | the embedding | the picture, encoded again | another eye | validity |"
    yield "|---|---|---|---|---|"
    for kind in ("avoid", "toward"):
        for name in ("an output", *CHANNELS):
            yield row(kind, name)


def row(kind: str, name: str) -> str:
    """Of each eye how many seeds moved as wished, and the mean of what it saw, unsteered and steered."""
    pairs: list[list[tuple[float, float]]] = [[], [], [], []]
    for seed in SEEDS:
        first, *others = unsteered(seed)
        steered = outputs_of(seed, steering_of(kind, first.image_embeds[None] if name == "an output" else name))
        for seen, eye in zip(pairs, [*eyes(name, first), validity], strict=True):
            seen.append((eye(others), eye(steered)))
    sign = 1 if kind == "toward" else -1
    moved = [f"{sum(sign * (b - a) > 0 for a, b in seen)} of {len(seen)}: " for seen in pairs[:3]] + [""]
    means = [f"{fmean(a for a, _ in seen):.2f} → {fmean(b for _, b in seen):.2f}" for seen in pairs]
    return f"| {kind} {name} | {' | '.join(map(str.__add__, moved, means))} |"


def eyes(name: str, first: Output) -> list[Eye]:
    """The three, for an output or for the word of a colour."""
    wanted = first.image_embeds if name == "an output" else described(name)
    third = partial(scorer_likeness, first) if name == "an output" else partial(colour, CHANNELS[name])
    return [partial(embedding_likeness, wanted), partial(encoded_likeness, wanted), third]


def steering_of(kind: str, wish: Wish) -> Steering:
    wishes = {"avoid": [], "toward": []} | {kind: [wish]}
    parts = (setup.models().model, setup.density(CONCEPT), setup.subject(CONCEPT))
    return steer(*parts, **wishes, history=None, report=setup.progress)


@cache
def unsteered(seed: int) -> list[Output]:
    return outputs_of(seed, UNSTEERED)


def outputs_of(seed: int, steering: Steering) -> list[Output]:
    models, config = setup.models(), GenerationConfig(BITS, seed, COUNT)
    parts = (models.model, setup.density(CONCEPT), models.checker)
    return generate(Run(*parts, setup.subject(CONCEPT), config, steering), setup.progress).outputs


@cache
def described(word: str) -> Target:
    """The mean embedding that the prior gives for the concept with the word before it."""
    worded = setup.subject(f"{word} {CONCEPT}")
    return draw_baseline(setup.models().model, worded, TEXT_SAMPLES, TEXT_SEED, setup.progress).mean(0)


def embedding_likeness(wanted: Target, outputs: list[Output]) -> float:
    return likeness(torch.stack([output.image_embeds for output in outputs]), wanted)


def encoded_likeness(wanted: Target, outputs: list[Output]) -> float:
    return likeness(torch.stack([setup.models().model.embed_image(output.image) for output in outputs]), wanted)


def likeness(image_embeds: Float[Tensor, "images width"], wanted: Target) -> float:
    """The mean cosine of what is not typical in the pictures and in the wanted."""
    mean = setup.density(CONCEPT).subspace.mean.to(image_embeds)
    return float(cosine_similarity(image_embeds - mean, (wanted - mean)[None]).mean())


def scorer_likeness(first: Output, outputs: list[Output]) -> float:
    """The same in the scorer's embedding, of pictures."""
    embed = setup.models().checker.embed
    pictures = embed([output.image for output in outputs]) - typical()
    return float(cosine_similarity(pictures, embed([first.image]) - typical()).mean())


@cache
def typical() -> Target:
    """The scorer's mean embedding of plain pictures."""
    models, config = setup.models(), GenerationConfig(BITS, 0)
    parts = (models.model, setup.density(CONCEPT), models.checker)
    plain = sample_plain(Run(*parts, setup.subject(CONCEPT), config), setup.progress, list(range(PLAIN)))
    return models.checker.embed([output.image for output in plain]).mean(0)


def colour(channel: int, outputs: list[Output]) -> float:
    """By how much the channel exceeds the mean of the others, of 1, in what stands before the background."""
    means = []
    for output in outputs:
        pixels = np.asarray(output.image.convert("RGB")) / 255
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        shown = np.abs(pixels - np.median(edge, 0)).sum(-1) > BACKGROUND
        means.append(pixels[shown].mean(0))
    others = [other for other in range(3) if other != channel]
    return fmean(float(mean[channel] - mean[others].mean()) for mean in means)


def validity(outputs: list[Output]) -> float:
    return fmean(output.validity for output in outputs)
