"""Steps from 0 to 1,000, with and without the pull back: how far is too far (arXiv 2601.22125, figure 8)."""

from collections.abc import Iterator
from statistics import fmean, median

import torch

from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.paper import PaperLoss
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Figures, Objective
from services.diffusion.steering.spaces import Space
from services.diffusion.trials import MIN_VALIDITY
from tests.benchmarks import setup

CONCEPTS = ["handbag", "chair", "cup"]
LOOKS = (0, 25, 50, 100, 150, 200, 300, 500, 1000)
STEP, PICTURES, SEED, RARE = 2e-5, 8, 6000, 5.0


def lines() -> Iterator[str]:
    """Markdown, a line at a time: one trial of low-rank factors for each concept, fresh noise each step."""
    yield f"| steps | way | median bits | valid, scorer | valid, judge | valid, judge, and above {RARE:.0f} bits |"
    yield "|---|---|---|---|---|---|"
    for way in ("without", "with"):
        looks = [list(trial(concept, way)) for concept in CONCEPTS]
        for step, found in zip(LOOKS, zip(*looks, strict=True), strict=True):
            bits, scorer, judge = ([x for one in found for x in one[i]] for i in range(3))
            rates = " | ".join(f"{fmean(x >= MIN_VALIDITY for x in column):.0%}" for column in (scorer, judge))
            both = fmean(b > RARE and p >= MIN_VALIDITY for b, p in zip(bits, judge, strict=True))
            yield f"| {step} | {way} | {median(bits):.1f} | {rates} | {both:.0%} |"


def trial(concept: str, way: str) -> Iterator[tuple[list[float], list[float], list[float]]]:
    """Bits and both validities of PICTURES samples at every look."""
    density = setup.density(concept)
    space = Space(setup.models().model, setup.subject(concept), ["lora"])
    parameters, fresh = [part[None].requires_grad_() for part in space.start(SEED)], noise_of([SEED])
    optimizer = torch.optim.AdamW(parameters, lr=STEP, weight_decay=1e-2)
    paper, calibrated = PaperLoss(density, UNSTEERED), Objective(density, 9.97, UNSTEERED)
    for step in range(LOOKS[-1] + 1):
        if step in LOOKS:
            yield look(space, parameters, concept)
        optimizer.zero_grad()
        figures = Figures.of(density, space.sample(parameters, space.noise(fresh, 1)), space.positive.text_embeds)
        loss = (
            paper(figures)
            if way == "without"
            else paper(figures) + calibrated.kept(figures, torch.zeros(1, dtype=torch.bool))
        )
        loss.sum().backward()
        optimizer.step()


@torch.no_grad()
def look(space: Space, parameters: list[torch.Tensor], concept: str) -> tuple[list[float], list[float], list[float]]:
    models, density, yardstick = setup.models(), setup.density(concept), setup.yardstick()
    noise = [SEED + i for i in range(PICTURES)]
    rows = [part.expand(PICTURES, -1) for part in parameters]
    embeds = space.sample(rows, space.noise(noise_of(noise), PICTURES))
    decoder = models.model.decoder
    images = decoder.decode(embeds, noise_of(noise), decoder.settings(None, None, None), lambda *_: None)
    judged = yardstick.judge.p_valid(yardstick.features(images), concept).tolist()
    return (
        [density.bits(x) for x in density.d2(embeds).tolist()],
        models.checker.p_valid(images, concept).tolist(),
        judged,
    )
