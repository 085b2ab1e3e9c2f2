"""A found thing again: how like it pictures in other sentences are, and how much the sentences count in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import numpy as np

from deploy.evaluate.features import Features
from services.diffusion.density.fit import fit_density
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.found import Found
from services.diffusion.generate import generate
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Output, Run
from services.diffusion.steering.spaces import Space
from tests.benchmarks import setup

CONCEPTS, SEED, BITS, SAMPLES = ("handbag", "chair", "cup"), 60_000, 9.97, 500
SENTENCES = ("a photo of a {} on a beach", "a child's drawing of a {}", "a red {}", "a {} made of wood")
SPACES = (["token"], ["lora"], ["token", "lora"])


@dataclass(frozen=True)
class Drawn:
    """A picture in a sentence, with the likeness to the found picture by features that nothing else uses; `say` is the
    share of what the sentence changes without anything learnt."""

    output: Output
    features: float
    say: float


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| space, strength | embedding | judge's features | other features | the sentence's say | valid | bits |"
    yield "|---|---|---|---|---|---|---|"
    for space in SPACES:
        found = [first(concept, space) for concept in CONCEPTS]
        own = [drawn(thing, None, thing.found.facts.prompt) for thing in found]
        yield row(f"{'+'.join(space)}, in its own sentence", own, with_say=False)
        for strength, name in ((None, "as usual"), (1.0, "1"), (0.0, "0")):
            again = [drawn(thing, strength, sentence) for thing in found for sentence in SENTENCES]
            yield row(f"{'+'.join(space)}, {name}", again)


def row(name: str, pictures: list[Drawn], *, with_say: bool = True) -> str:
    """Means over the pictures."""
    outputs = [picture.output for picture in pictures]
    likeness = [output.likeness for output in outputs if output.likeness]
    say = f"{fmean(picture.say for picture in pictures):.2f}" if with_say else ""
    return (
        f"| {name} | {fmean(like.embedding for like in likeness):.2f} | "
        f"{fmean(like.picture or 0.0 for like in likeness):.2f} | {fmean(p.features for p in pictures):.2f} | {say} | "
        f"{fmean((output.validity or 0) >= 0.5 for output in outputs):.0%} | "
        f"{fmean(output.rarity['bits'] for output in outputs):.1f} |"
    )


def first(concept: str, space: list[str]) -> Output:
    """One found thing at percentile 99.9."""
    config = GenerationConfig(BITS, SEED, space=space)
    return run_of(setup.subject(concept), setup.density(concept), config)[0]


def drawn(thing: Output, strength: float | None, sentence: str) -> Drawn:
    """The same in the sentence."""
    found, model = thing.found, setup.models().model
    subject = found.subject(sentence)
    density = own_density(found.facts.concept, sentence)
    [output] = run_of(subject, density, GenerationConfig(BITS, 7, trials=2, found_strength=strength), found)
    one, other = Features()([thing.image, output.image])
    return Drawn(
        output, float(one @ other / np.sqrt(one @ one * (other @ other))), say(found, model, subject, strength)
    )


def say(found: Found, model: object, subject: Subject, strength: float | None) -> float:
    """By embeddings: what the sentence changes in the found thing, as a share of what it changes without it."""
    there, here = (Space(model, one, found.facts.space) for one in (subject, found.subject(found.facts.prompt)))
    learnt = found.sample(there, strength)[1]
    scaled = Found(found.facts, found.image_embeds, found.mean, learnt, found.start)
    moved, plain = (one.sample(there, s)[0] - one.sample(here, s)[0] for one, s in ((scaled, 1.0), (found, 0.0)))
    return float(moved @ plain / (plain @ plain)) if plain.any() else 1.0


def run_of(
    subject: Subject, density: DensityModel, config: GenerationConfig, found: Found | None = None
) -> list[Output]:
    models = setup.models()
    return generate(Run(models.model, density, models.checker, subject, config, found=found), setup.progress).outputs


@cache
def own_density(concept: str, sentence: str) -> DensityModel:
    """Of few samples: what is told of bits here is no more than about how far."""
    return fit_density(setup.models().model, Subject(concept, sentence), samples=SAMPLES, seed=0, report=setup.progress)
