"""`make bench-full-size`: what Kandinsky 2.1 costs on this GPU at full size, beside what the GPU can do, as Markdown.

The weights are random, in bfloat16; tokens and densities are float32 and float64, as they always are.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from statistics import median

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from services.diffusion.density.fit import BATCH, fit_density
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import DecodeSettings, noise_of
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.kandinsky.schedule import PRIOR_STEPS
from services.diffusion.optimize import Optimization
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from services.texts.concepts import DEFAULT_PROMPT
from tests.benchmarks.kandinsky_2_1 import DTYPE, PUBLISHED, TINY, Parts, build

from diffusers.utils import logging  # isort: skip

CONCEPT = "handbag"
SUBJECT = Subject(CONCEPT, DEFAULT_PROMPT)
OUT_OF_REACH = 30.0  # bits, so that no trial arrives and all of them are in every step
ROW_S = 40.0  # no run of a row begins later, none goes on for twice as long
REPEATS = 5
AT_ONCE = 20
HEAD = "| | time | TFLOP | of TFLOP/s | of GB/s | plain method's of TFLOP/s | peak GiB |\n|---|---|---|---|---|---|---|"

Report = Callable[..., None]


@dataclass(frozen=True)
class Size:
    """What is measured. The TFLOP are those of the plain method, which runs every prompt in every step of the prior."""

    parts: Parts
    trials: tuple[int, ...]
    samples: int
    pictures: dict[int, float]
    num_inference_steps: int
    step_tflop: float
    samples_tflop: float
    matmul: int
    copied_bytes: int


FULL_SIZE = Size(PUBLISHED, (1, 16, 64), 5000, {512: 88.0, 768: 205.0}, 50, 3.33, 8200.0, 8192, 2**31)
TINY_SIZE = Size(TINY, (1, 3), 500, {64: 0.0, 128: 0.0}, 2, 0.0, 0.0, 128, 2**20)


@dataclass(frozen=True)
class Row:
    """A thing to time; its FLOPs are the sum of those of `counted`, each as often as it says, which warm up.

    `weights_bytes` are the weights that it has to read, once for each time that they are used.
    """

    name: str
    run: Callable[[Report], object]
    counted: list[tuple[Callable[[Report], object], float]]
    weights_bytes: int
    plain_tflop: float


@dataclass(frozen=True)
class Ceilings:
    """What the machine does when nothing else is asked of it."""

    tflops: float
    gigabytes_per_s: float


def fit(model: Kandinsky, samples: int, report: Report) -> DensityModel:
    return fit_density(model, SUBJECT, samples=samples, seed=0, report=report)


def optimization_step(model: Kandinsky, density: DensityModel, trials: int) -> Callable[[Report], None]:
    """One step of that many trials of tokens and factors, none of which ever arrives."""
    space, objective = Space(model, SUBJECT, ["token", "lora"]), Objective(density, OUT_OF_REACH, UNSTEERED)
    run = Optimization(space, density, objective, seed=0, trials=trials, count=trials)

    def step(_report: Report) -> None:
        run.measure(1)
        run.optimizer.step()

    return step


def decode(model: Kandinsky, settings: DecodeSettings, report: Report) -> None:
    embeds = torch.randn(1, model.prior.config.embedding_dim, generator=noise_of([0])[0]).to(model.device)
    model.decoder.decode(embeds, noise_of([0]), settings, report)


def rows(model: Kandinsky, size: Size) -> list[Row]:
    prior, text = weights_bytes(model.prior), weights_bytes(model.text_encoder)
    sampled = prior * (PRIOR_STEPS + 1)  # the prompt's own pass, then the steps
    baseline = partial(fit, model, size.samples), [(partial(fit, model, BATCH), size.samples / BATCH)]
    read = sampled * ceil(size.samples / BATCH)
    found = [Row(f"baseline, {size.samples:,} samples", *baseline, read, size.samples_tflop)]
    density = fit(model, BATCH, lambda *_: None).to(model.device)
    for trials in size.trials:
        step, plain = optimization_step(model, density, trials), trials * size.step_tflop
        found.append(Row(f"optimisation step, {trials} trials", step, [(step, 1)], 2 * (sampled + text), plain))
    for edge, plain in size.pictures.items():
        steps = size.num_inference_steps
        one, two, run = (partial(decode, model, DecodeSettings(edge, n, 7.5)) for n in (1, 2, steps))
        read = weights_bytes(model.decoder.unet) * steps + weights_bytes(model.decoder.movq)
        found.append(Row(f"decode at {edge} px, {steps} steps", run, [(one, 2 - steps), (two, steps - 1)], read, plain))
    return found


def weights_bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def seconds(run: Callable[[], object], deadline: float) -> float:
    """Median of up to REPEATS runs, at least one, none of which begins after the deadline."""
    times: list[float] = []
    while not times or (len(times) < REPEATS and time.perf_counter() < deadline):
        synchronize()
        begin = time.perf_counter()
        run()
        synchronize()
        times.append(time.perf_counter() - begin)
    return median(times)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ceilings(size: Size, device: str) -> Ceilings:
    """Large bfloat16 matrix products, and large copies, which read and write every byte."""
    a, b = torch.randn(2, size.matmul, size.matmul, device=device, dtype=DTYPE)
    source = torch.zeros(size.copied_bytes, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)

    def per_second(run: Callable[[], object]) -> float:
        run()
        return AT_ONCE / seconds(lambda: [run() for _ in range(AT_ONCE)], time.perf_counter() + ROW_S)

    product, copy = per_second(lambda: a @ b), per_second(lambda: target.copy_(source))
    return Ceilings(2 * size.matmul**3 * product / 1e12, 2 * size.copied_bytes * copy / 1e9)


def line(row: Row, ceiling: Ceilings) -> str:
    """The row in Markdown, or why there are no figures for it."""
    try:
        cost = measure(row, ROW_S)
    except torch.OutOfMemoryError:
        return f"| {row.name} | does not fit the memory | | | | | |"
    except TimeoutError as error:
        return f"| {row.name} | {error} | | | | | |"
    compute, memory, plain = cost.shares(row, ceiling)
    figures = f"{cost.seconds:.3f} s | {cost.tflop:.3g} | {compute:.1%} | {memory:.1%} | {plain:.1%}"
    return f"| {row.name} | {figures} | {cost.peak_gib:.1f} |"


@dataclass(frozen=True)
class Cost:
    """What a row takes; the peak of the memory is a GPU's."""

    seconds: float
    tflop: float
    peak_gib: float

    def shares(self, row: Row, ceiling: Ceilings) -> tuple[float, float, float]:
        """Of the products for the FLOPs that were counted, of the bandwidth for the weights, and of the products for
        the plain method's FLOPs in the time that ours takes."""
        compute, plain = (work / ceiling.tflops / self.seconds for work in (self.tflop, row.plain_tflop))
        return compute, row.weights_bytes / 1e9 / ceiling.gigabytes_per_s / self.seconds, plain


def measure(row: Row, limit_s: float) -> Cost:
    """Count the FLOPs once, then time for about `limit_s`; TimeoutError for what takes twice as long."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    tflop = sum(times * flops(run) for run, times in row.counted) / 1e12
    deadline = time.perf_counter() + limit_s

    def report(*_: object) -> None:
        if time.perf_counter() > deadline + limit_s:
            raise TimeoutError(f"takes more than {2 * limit_s:.0f} s")

    return Cost(seconds(lambda: row.run(report), deadline), tflop, torch.cuda.max_memory_allocated() / 2**30)


def flops(run: Callable[[Report], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run(lambda *_: None)
    return int(counter.get_total_flops())


def print_table(size: Size, device: str) -> None:
    """A line as soon as it is known, with its shares of the ceilings."""
    ceiling = ceilings(size, device)
    model = build(size.parts, device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}: {ceiling.tflops:.2f} TFLOP/s in bfloat16, {ceiling.gigabytes_per_s:.0f} GB/s\n")
    print(HEAD, flush=True)
    for row in rows(model, size):
        print(line(row, ceiling), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.full_size", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="the same on a tiny model and the CPU, to test it")
    tiny = parser.parse_args().tiny
    if not tiny and not torch.cuda.is_available():
        sys.exit("The full-size benchmark needs a CUDA device, and there is none here.")
    logging.set_verbosity_error()  # it warns that parts of the model should stay in float32, and lists none
    print_table(TINY_SIZE if tiny else FULL_SIZE, "cpu" if tiny else "cuda")


if __name__ == "__main__":
    main()
