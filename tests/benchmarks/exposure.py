"""The tenth job of the same user still brings new things: with exposure, and without for comparison."""

from collections.abc import Iterator
from statistics import fmean, median

import torch

from deploy.evaluate.metrics import nearest_distances, vendi_score
from services.diffusion.generate import generate
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.steering.clusters import UNSTEERED, History, steer
from tests.benchmarks import setup

CONCEPT, JOBS, COUNT, BITS, SEED = "handbag", 10, 4, 9.97, 5000


def lines() -> Iterator[str]:
    """Markdown, a line at a time; distances are between features that no loss uses."""
    yield "| job | way | novelty bits | distance to the nearest seen | mean validity |"
    yield "|---|---|---|---|---|"
    for way in ("without", "with"):
        yield from user(way)


def user(way: str) -> Iterator[str]:
    models, density, features = setup.models(), setup.density(CONCEPT), setup.yardstick().features
    subject = setup.subject(CONCEPT)
    seen, pictures = torch.zeros(0, density.subspace.mean.shape[0]), []
    for job in range(JOBS):
        history = History(seen, seen[:0], seen[:0])
        steering = steer(models.model, density, subject, avoid=[], toward=[], history=history, report=setup.progress)
        config = GenerationConfig(BITS, SEED + 1000 * job, COUNT)
        own = steering if way == "with" else UNSTEERED
        run = Run(models.model, density, models.checker, subject, config, own)
        outputs = generate(run, setup.progress).outputs
        embeds = torch.stack([output.image_embeds for output in outputs])
        rows = features([output.image for output in outputs])
        novelty = median(steering.belief.bits(density.subspace.project(embeds)))
        distance = fmean(nearest_distances(rows, torch.tensor(pictures).numpy())) if pictures else float("nan")
        valid = fmean(output.validity for output in outputs)
        yield f"| {job + 1} | {way} | {novelty:.1f} | {distance:.3f} | {valid:.2f} |"
        subject = setup.subject(CONCEPT)
    seen, pictures = torch.cat([seen, embeds]), pictures + rows.tolist()
    yield f"All {len(pictures)} {way}: Vendi score {vendi_score(torch.tensor(pictures).numpy()):.2f}"
