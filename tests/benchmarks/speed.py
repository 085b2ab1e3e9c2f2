"""What the parts cost here and now, each beside something to compare it with in the same run."""

import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from diffusers import KandinskyPriorPipeline
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from services.diffusion.decoder import Picture
from services.diffusion.generate import Rarity, generate
from services.diffusion.optimize import Optimization, noise_of
from services.diffusion.spaces import TokenSpace
from tests.benchmarks.setup import CHECKPOINT, PROMPT, Bench, progress

REPEATS = 5
BITS = 9.97


def seconds(*runs: Callable[[], object]) -> list[float]:
    """Median wall-clock seconds of each, all of them taking turns."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(REPEATS):
        for run, taken in zip(runs, times, strict=True):
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
    return [statistics.median(taken) for taken in times]


def pipeline(bench: Bench) -> KandinskyPriorPipeline:
    model = bench.model
    vision = CLIPVisionModelWithProjection.from_pretrained(CHECKPOINT / "prior/image_encoder")
    theirs = KandinskyPriorPipeline(
        prior=model.prior,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        scheduler=model.scheduler,
        image_encoder=vision,
        image_processor=CLIPImageProcessor(),
    )
    theirs.set_progress_bar_config(disable=True)
    return theirs


def prior_rows(bench: Bench) -> list[tuple[str, float, str]]:
    model, theirs, text = bench.model, pipeline(bench), PROMPT.replace("{}", "handbag")

    @torch.no_grad()
    def ours(cached: bool) -> None:
        model.sample_prior(model.encode_prompt(text), noise_of(list(range(16))), 16, cached=cached)

    mine, cached, other = seconds(
        lambda: ours(False),
        lambda: ours(True),
        lambda: theirs(text, num_images_per_prompt=16, num_inference_steps=5, generator=noise_of(list(range(16)))),
    )
    return [
        ("16 prior samples", mine, f"{mine / other:.2f} of diffusers' pipeline"),
        ("16 prior samples, prompt cached", cached, f"{cached / other:.2f} of diffusers' pipeline"),
    ]


def step_rows(bench: Bench, trials: int) -> list[tuple[str, float, str]]:
    model, density = bench.model, bench.density("handbag")
    seeds = list(range(trials))
    run = Optimization(model, density, TokenSpace(model, "handbag", PROMPT, trials), seeds, BITS)

    @torch.no_grad()
    def forward() -> None:
        model.sample_prior(run.space.encode(seeds), noise_of(seeds), trials)

    def step() -> None:
        run.measure(1)
        run.optimizer.step()

    mine, other = seconds(step, forward)
    return [(f"optimisation step, {trials} trials", mine, f"{mine / other:.2f} of sampling them")]


def decode_rows(bench: Bench) -> list[tuple[str, float, str]]:
    decoder = bench.model.decoder
    picture: Picture = decoder.picture(None, None, None)
    embeds = torch.randn(4, bench.model.prior.config.embedding_dim)
    one, four = seconds(
        lambda: decoder.decode(embeds[:1], noise_of([0]), picture, lambda *_: None),
        lambda: decoder.decode(embeds, noise_of([0, 1, 2, 3]), picture, lambda *_: None),
    )
    return [("decode 1 picture", one, ""), ("decode 4 pictures", four, f"{four / one:.2f} of one")]


def generate_rows(bench: Bench, count: int) -> list[tuple[str, float, str]]:
    density = bench.density("handbag")
    begin = time.perf_counter()
    result = generate(
        bench.model,
        density,
        bench.checker,
        concept="handbag",
        prompt=PROMPT,
        count=count,
        rarity=Rarity(percentile=99.9),
        steps=50,
        trials=None,
        seed=0,
        size=None,
        decoder_steps=None,
        guidance_scale=None,
        report=progress,
    )
    taken = time.perf_counter() - begin
    return [(f"{count} images at percentile 99.9", taken, str(result.timings_ms))]


def table(bench: Bench) -> str:
    """Markdown, with torch's number of threads."""
    rows = prior_rows(bench)
    for trials in (1, 4, 16):
        rows += step_rows(bench, trials)
    rows += decode_rows(bench)
    for count in (1, 4):
        rows += generate_rows(bench, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    lines = [f"| {name} | {taken:.3f} s | {note} |" for name, taken, note in rows]
    head = f"| {torch.get_num_threads()} threads | time | beside |\n|---|---|---|"
    return "\n".join([head, *lines, f"| peak memory | {peak:.2f} GiB | |"])
