"""What the parts cost here and now, each beside something to compare it with in the same run."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from diffusers import KandinskyPriorPipeline

from services.diffusion.generate import generate
from services.diffusion.kandinsky.decoder import DecodeSettings, noise_of
from services.diffusion.optimize import Optimization
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from tests.benchmarks import setup
from tests.benchmarks.operators import operators

REPEATS = 5
CONCEPT, BITS = "handbag", 9.97

Row = tuple[str, float, str]


def seconds(*runs: Callable[[], object]) -> list[float]:
    """Median wall-clock seconds of each, all of them taking turns."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(REPEATS):
        for run, taken in zip(runs, times, strict=True):
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
    return [statistics.median(taken) for taken in times]


def pipeline() -> KandinskyPriorPipeline:
    model = setup.models().model
    theirs = KandinskyPriorPipeline(
        prior=model.prior,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        scheduler=model.scheduler,
        image_encoder=model.image_encoder,
        image_processor=model.image_processor,
    )
    theirs.set_progress_bar_config(disable=True)
    return theirs


def prior_rows() -> Iterator[Row]:
    model, theirs, text = setup.models().model, pipeline(), setup.subject(CONCEPT).text

    @torch.no_grad()
    def ours(cached: bool) -> None:
        model.sample_prior(model.encode_prompt(text), noise_of(list(range(16))), 16, cached=cached)

    mine, cached, other = seconds(
        lambda: ours(False),
        lambda: ours(True),
        lambda: theirs(text, num_images_per_prompt=16, num_inference_steps=5, generator=noise_of(list(range(16)))),
    )
    yield "16 prior samples", mine, f"{mine / other:.2f} of diffusers' pipeline"
    yield "16 prior samples, prompt cached", cached, f"{cached / other:.2f} of diffusers' pipeline"


def step_row(name: str, trials: int) -> Row:
    density, space = setup.density(CONCEPT), Space(setup.models().model, setup.subject(CONCEPT), [name])
    objective = Objective(density, 25.0, UNSTEERED)  # out of reach, so that no trial arrives
    run = Optimization(space, density, objective, seed=0, trials=trials, count=trials)

    @torch.no_grad()
    def forward() -> None:
        space.sample(run.parameters, run.noise)

    def step() -> None:
        run.measure(1)
        run.optimizer.step()

    mine, other = seconds(step, forward)
    note = f"{mine / other:.2f} of sampling them; {len(operators(step)):,} operators"
    return f"optimisation step of {name}, {trials} trials", mine, note


def decode_rows() -> Iterator[Row]:
    model = setup.models().model
    settings: DecodeSettings = model.decoder.settings(None, None, None)
    embeds = torch.randn(4, model.prior.config.embedding_dim)
    one, four = seconds(
        lambda: model.decoder.decode(embeds[:1], noise_of([0]), settings, lambda *_: None),
        lambda: model.decoder.decode(embeds, noise_of([0, 1, 2, 3]), settings, lambda *_: None),
    )
    yield "decode 1 picture", one, ""
    yield "decode 4 pictures", four, f"{four / one:.2f} of one"


def generate_row(count: int) -> Row:
    models, density = setup.models(), setup.density(CONCEPT)
    begin = time.perf_counter()
    parts = (models.model, density, models.checker, setup.subject(CONCEPT))
    made = generate(Run(*parts, GenerationConfig(BITS, 0, count)), setup.progress)
    return f"{count} images at percentile 99.9", time.perf_counter() - begin, str(made.timings_ms)


def rows() -> Iterator[Row]:
    yield from prior_rows()
    for name in ("token", "lora"):
        yield from (step_row(name, trials) for trials in (1, 4, 16))
    yield from decode_rows()
    yield from (generate_row(count) for count in (1, 4))


def lines() -> Iterator[str]:
    """Markdown, with torch's number of threads, a line at a time."""
    yield f"| {torch.get_num_threads()} threads | time | beside |\n|---|---|---|"
    for name, taken, note in rows():
        yield f"| {name} | {taken:.3f} s | {note} |"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    yield f"| peak memory | {peak:.2f} GiB | |"
