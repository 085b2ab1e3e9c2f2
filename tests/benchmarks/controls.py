"""Three dials of a request: how far a variation goes, how much a wish counts, how unlike the pictures of a set are.

Each part is small enough to run beside other work, a few minutes on one core.
"""

from collections.abc import Iterator
from functools import cache
from statistics import fmean

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import cosine_similarity

from deploy.evaluate.features import Features
from deploy.evaluate.metrics import vendi_score
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
STRENGTHS, START_SEED, VARIATIONS = (0.0, 0.25, 0.5, 0.75, 1.0), 77, 32
WEIGHED, WORD, WEIGHTS, WEIGHED_BITS, SEEDS = "handbag", "red", (0.0, 0.5, 1.0, 1.5, 2.0), 5.0, (40_000, 41_000)
SETS, VARIETIES, SET, SET_SEED, BITS = ("handbag", "chair", "cup"), (0.0, 0.25, 0.5, 0.75, 1.0), 8, 50_000, 9.97


def strength_lines() -> Iterator[str]:
    """Markdown, a line at a time: how far variations are from each of ten pictures at five strengths."""
    rows = [[distance(concept, strength) for strength in STRENGTHS] for concept in STARTS]
    yield f"| picture | {' | '.join(map(str, STRENGTHS))} | Spearman |"
    yield "|---|---|---|---|---|---|---|"
    for concept, row in zip(STARTS, rows, strict=True):
        rank = spearmanr(STRENGTHS, row).statistic
        yield f"| {concept} | {' | '.join(f'{value:.3f}' for value in row)} | {rank:.2f} |"


def distance(concept: str, strength: float) -> float:
    """Mean cosine distance of plain variations from the picture that they start from, by their embeddings."""
    model, plain = setup.models().model, setup.subject(concept)
    start = draw_baseline(model, plain, 1, START_SEED, setup.progress)[0]
    varied = Subject(concept, DEFAULT_PROMPT, start.float(), strength)
    embeds = draw_baseline(model, varied, VARIATIONS, 0, setup.progress)
    return float(1 - cosine_similarity(embeds, start[None]).mean())


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
def described() -> Tensor:
    """The mean embedding (dim,) that the prior gives for the concept with the word before it."""
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
