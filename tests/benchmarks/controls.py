"""Three dials of a request: how far a variation goes, how much a wish counts, how unlike the pictures of a set are.

Each part is small enough to run beside other work, a few minutes on one core.
"""

from collections.abc import Iterator
from functools import cache
from statistics import fmean

import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import cosine_similarity

from deploy.evaluate.case import decoded, draw
from deploy.evaluate.features import Features
from deploy.evaluate.metrics import nearest_distances, vendi_score
from services.diffusion.density.fit import draw_baseline
from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate, trials_for
from services.diffusion.judge import Judge
from services.diffusion.optimize import Optimization
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.runtime.batching import ALONE
from services.diffusion.steering.clusters import TEXT_SAMPLES, TEXT_SEED, UNSTEERED, Weighed, steer
from services.diffusion.steering.objective import Objective
from services.diffusion.trials import Checked, Trial, ranked
from services.texts.concepts import DEFAULT_PROMPT
from tests.benchmarks import setup

STARTS = ["handbag", "backpack", "sofa", "chair", "lamp", "table", "teapot", "vase", "clock", "cup"]
STRENGTHS, START_SEED, VARIATIONS, PICTURES = (0.0, 0.25, 0.5, 0.75, 1.0), 77, 32, 2
WEIGHED, WORD, WEIGHTS, WEIGHED_BITS, SEEDS = "handbag", "red", (0.0, 0.5, 1.0, 1.5, 2.0), 5.0, (40_000, 41_000)
SETS, VARIETIES, SET, SET_SEED, BITS = ("handbag", "chair", "cup"), (0.0, 0.25, 0.5, 0.75, 1.0), 8, 50_000, 9.97


def strength_lines() -> Iterator[str]:
    """Markdown, a line at a time: how far variations are from each of ten pictures at five strengths."""
    rows = [[variations(concept, strength) for strength in STRENGTHS] for concept in STARTS]
    yield "| strength | cosine distance, embedding | distance, independent features |"
    yield "|---|---|---|"
    for strength, seen in zip(STRENGTHS, zip(*rows, strict=True), strict=True):
        embedding, features = (fmean(values) for values in zip(*seen, strict=True))
        yield f"| {strength} | {embedding:.3f} | {features:.3f} |"
    for name, column in (("embedding", 0), ("independent features", 1)):
        each = [float(spearmanr(STRENGTHS, [seen[column] for seen in row]).statistic) for row in rows]
        yield f"Spearman, {name}: {fmean(each):.2f} on average, {min(each):.2f} at the least"


def variations(concept: str, strength: float) -> tuple[float, float]:
    """Mean distance of plain variations from their start: of embeddings, and of pictures to an eye that no loss has."""
    model, text = setup.models().model, setup.subject(concept).text
    start = draw(model, text, 1, START_SEED, setup.progress)
    subject = Subject(concept, DEFAULT_PROMPT, start.image_embeds[0], strength)
    embeds = draw_baseline(model, subject, VARIATIONS, 0, setup.progress)
    shown = decoded(model, embeds[:PICTURES].to(model.dtype), 0, setup.progress).images
    features = Features()([*start.images, *shown])
    embedding = 1 - cosine_similarity(embeds, start.image_embeds.double()).mean()
    return float(embedding), float(nearest_distances(features[1:], features[:1]).mean())


def weight_lines() -> Iterator[str]:
    """Markdown, a line at a time: the likeness to a wish, as a cosine, at five weights of it."""
    yield f"| weight | avoid {WORD}: likeness, validity, bits | toward {WORD}: likeness, validity, bits |"
    yield "|---|---|---|"
    for weight in WEIGHTS:
        yield f"| {weight} | {weighed('avoid', weight)} | {weighed('toward', weight)} |"


def weighed(kind: str, weight: float) -> str:
    """Means of the pictures: likeness to what the words give, after the density's mean is taken off; validity; bits."""
    models, density, subject = setup.models(), setup.density(WEIGHED), setup.subject(WEIGHED)
    wishes = {"avoid": [], "toward": []} | {kind: [Weighed(WORD, weight)]}
    parts = (models.model, density, models.checker, subject)
    steering = steer(models.model, density, subject, **wishes, history=None, report=setup.progress)
    configs = [GenerationConfig(WEIGHED_BITS, seed, count=2, trials=4, steps=30) for seed in SEEDS]
    seen = [o for config in configs for o in generate(Run(*parts, config, steering), setup.progress).outputs]
    y = density.subspace.project(torch.stack([output.image_embeds for output in seen]))
    likeness = cosine_similarity(y, density.subspace.project(described()[None])).mean()
    validity, bits = fmean(o.validity or 0.0 for o in seen), fmean(o.rarity["bits"] for o in seen)
    return f"{likeness:.2f}, {validity:.2f}, {bits:.1f}"


@cache
def described() -> Float[Tensor, "dim"]:
    """The mean embedding that the prior gives for the concept with the word before it."""
    worded = setup.subject(f"{WORD} {WEIGHED}")
    return draw_baseline(setup.models().model, worded, TEXT_SAMPLES, TEXT_SEED, setup.progress).mean(0)


def variety_lines() -> Iterator[str]:
    """Markdown, a line at a time: sets chosen from the same trials at five stops."""
    found = {concept: trials_of(concept) for concept in SETS}
    yield "| variety | Vendi | mean validity | mean bits |"
    yield "|---|---|---|---|"
    for variety in VARIETIES:
        sets = [judge.hand_out(ranked(trials, variety), SET) for judge, trials in found.values()]
        vendi = fmean(vendi_score(Features()([check.image for check in chosen])) for chosen in sets)
        checks = [check for chosen in sets for check in chosen]
        validity, bits = (fmean(values) for values in zip(*map(figures, checks), strict=True))
        yield f"| {variety} | {vendi:.2f} | {validity:.2f} | {bits:.1f} |"


def figures(check: Checked) -> tuple[float, float]:
    return check.validity or 0.0, check.state.bits


def trials_of(concept: str) -> tuple[Judge, list[Trial]]:
    """Trials at the usual target, and who judges them."""
    models, density = setup.models(), setup.density(concept)
    run = Run(models.model, density, models.checker, setup.subject(concept), GenerationConfig(BITS, SET_SEED, SET))
    judge = Judge(models.model.decoder, models.checker, concept, run.candidate, run.settings, setup.progress, ALONE)
    objective, size = Objective(density, BITS, UNSTEERED), {"trials": trials_for(SET), "count": SET}
    optimization = Optimization(run.space, density, objective, seed=SET_SEED, **size)
    return judge, optimization.run(run.config.steps, judge, setup.progress)
