"""Does the method do anything? Plain samples, the rarest of 5,000, and ours, for the same concepts and seeds."""

from dataclasses import dataclass
from statistics import mean, median

import torch

from services.diffusion.density import DensityModel
from services.diffusion.fit import draw_baseline
from services.diffusion.generate import Rarity, generate, sample_plain
from services.diffusion.judge import Judge
from services.diffusion.trials import MIN_VALIDITY
from tests.benchmarks.setup import PROMPT, SAMPLES, Bench, progress

CONCEPTS = ["handbag", "backpack", "sofa", "chair", "lamp", "table", "teapot", "vase", "clock", "cup", "car", "shoe"]
PERCENTILE = 99.9
OTHER_SEED = 1


@dataclass(frozen=True)
class Found:
    """The pictures of one concept, and what each has of what was asked for."""

    images: list
    bits: list[float]
    validity: list[float]


def plain(bench: Bench, density: DensityModel, images: int) -> Found:
    outputs = sample_plain(
        bench.model,
        density,
        bench.checker,
        concept=density.concept,
        prompt=PROMPT,
        seeds=list(range(images)),
        size=None,
        decoder_steps=None,
        guidance_scale=None,
        report=progress,
    )
    return Found([o.image for o in outputs], [o.rarity["bits"] for o in outputs], [o.validity for o in outputs])


def best_of_many(bench: Bench, density: DensityModel, images: int) -> Found:
    """The rarest of as many fresh samples as the density was fitted on; trap 9 of the method."""
    embeds = draw_baseline(bench.model, density.text, SAMPLES, OTHER_SEED, progress)
    d2 = density.d2(embeds)
    best = d2.topk(images).indices
    decoder = bench.model.decoder
    judge = Judge(decoder, bench.checker, density.concept, decoder.picture(None, None, None), progress)
    verdicts = judge(list(range(images)), embeds[best].float())
    pictures, validity = zip(*verdicts, strict=True)
    return Found(list(pictures), [density.bits(x) for x in d2[best].tolist()], list(validity))


def ours(bench: Bench, density: DensityModel, images: int) -> Found:
    outputs = generate(
        bench.model,
        density,
        bench.checker,
        concept=density.concept,
        prompt=PROMPT,
        count=images,
        rarity=Rarity(percentile=PERCENTILE),
        steps=50,
        trials=None,
        seed=0,
        size=None,
        decoder_steps=None,
        guidance_scale=None,
        report=progress,
    ).outputs
    return Found([o.image for o in outputs], [o.rarity["bits"] for o in outputs], [o.validity for o in outputs])


def spread(bench: Bench, found: Found) -> float:
    """Mean distance of two pictures of the set, in the scorer's space."""
    return float(torch.pdist(bench.checker.embed(found.images)).mean())


def row(bench: Bench, name: str, way: str, found: Found) -> str:
    target = Rarity(percentile=PERCENTILE).target_bits
    reached = mean(bits >= target for bits in found.bits)
    valid = mean(validity >= MIN_VALIDITY for validity in found.validity)
    return (
        f"| {name} | {way} | {median(found.bits):.1f} | {mean(found.validity):.2f} | {valid:.0%} | "
        f"{spread(bench, found):.2f} | {reached:.0%} |"
    )


def table(bench: Bench, concepts: list[str], images: int) -> str:
    """Markdown; the last rows are over all concepts."""
    ways = {"plain": plain, f"best of {SAMPLES:,}": best_of_many, "ours": ours}
    lines = [
        "| concept | way | median bits | mean validity | valid | spread | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    everything: dict[str, list[Found]] = {way: [] for way in ways}
    for concept in concepts:
        density = bench.density(concept)
        for way, sample in ways.items():
            everything[way].append(sample(bench, density, images))
            lines.append(row(bench, concept, way, everything[way][-1]))
    lines += [all_row(bench, way, founds) for way, founds in everything.items()]
    return "\n".join(lines)


def all_row(bench: Bench, way: str, founds: list[Found]) -> str:
    """Bits and validity over all images; the spread is the mean of the sets'."""
    bits = [b for found in founds for b in found.bits]
    validity = [v for found in founds for v in found.validity]
    reached = mean(b >= Rarity(percentile=PERCENTILE).target_bits for b in bits)
    valid = mean(v >= MIN_VALIDITY for v in validity)
    distance = mean(spread(bench, found) for found in founds)
    return f"| all | {way} | {median(bits):.1f} | {mean(validity):.2f} | {valid:.0%} | {distance:.2f} | {reached:.0%} |"
