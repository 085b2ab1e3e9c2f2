"""`make gpu-check`: is this GPU right, and what does it cost, in three minutes: one JSON file and one Markdown file.

Every feature of the embedded checkpoint against the CPU; a whole job of four at full size, with random weights; the
table of `make bench-full-size`; steps as CUDA graphs, and jobs that share them. What there is no time for is named.
REHEARSE=1 does the same on a CPU, at tiny sizes.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from math import inf
from pathlib import Path

import torch

import deploy.checkpoints
from services.diffusion.kandinsky.graphs import TOKENS, sizes_up_to
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.kandinsky.schedule import PRIOR_STEPS
from services.diffusion.run import LIBRARIES, version_of
from tests.benchmarks.findings import LATE, OK, Findings, Row
from tests.benchmarks.full_size import (
    BATCH,
    FULL_SIZE,
    TINY_SIZE,
    Ceilings,
    Size,
    ceilings,
    fit,
    measure,
    optimization_step,
    rows,
    seconds,
)
from tests.benchmarks.kandinsky_2_1 import build
from tests.benchmarks.whole_job import EverySecond, Worker
from tests.dark_classifier import save_dark_classifier
from tests.device_jobs import JOBS, Bench, Job, load
from tests.tiny_vlm import llava_next

from diffusers.utils import logging  # isort: skip

MINI = Path(deploy.checkpoints.__file__).parent / "rarebit-mini"
ENDS_S = (40.0, 85.0, 125.0, 170.0)  # when the parts have to be done
JOBS_AT_ONCE = 16
ASKED = {"full": {"size": 768}, "tiny": {"steps": 2, "size": 64, "decoder_steps": 2}}  # of a job


def features(findings: Findings, device: str, until: float) -> None:
    """Every job on the CPU and on the device, from the embedded checkpoint and tiny judges."""
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: MINI / name for name in ("prior", "decoder", "scorer")}
        folders |= {"vlm": Path(folder, "vlm"), "safety": Path(folder, "safety")}
        for part in llava_next():
            part.save_pretrained(folders["vlm"])
        save_dark_classifier(folders["safety"], brightness=0.5)
        cpu = load(folders, None, device="cpu", dtype=torch.float32)
        other = load(folders, cpu.density, device=device, dtype=torch.float32)
        for name, job in JOBS.items():
            findings.add("features", attempted(name, lambda job=job: compared(job, cpu, other), until))


def compared(job: Job, cpu: Bench, other: Bench) -> Row:
    begin = time.perf_counter()
    expected = job(cpu)
    middle = time.perf_counter()
    difference = job(other).difference(expected)
    times = {"CPU s": middle - begin, "device s": time.perf_counter() - middle}
    return {"result": OK if difference.small else "differs"} | asdict(difference) | times


def whole_jobs(findings: Findings, model: Kandinsky, checker: EverySecond, size: Size, until: float) -> None:
    """Twice; the second has its density and its kernels."""
    worker = Worker(model, checker, size.samples, **ASKED["full" if size is FULL_SIZE else "tiny"])
    for name in ("cold", "warm"):
        findings.add("a job of four", attempted(name, lambda: worker.job(until), until))


def costs(findings: Findings, model: Kandinsky, size: Size, ceiling: Ceilings, until: float) -> None:
    """The rows of the full-size benchmark, each in its share of what time is left."""
    table = rows(model, size)
    for number, row in enumerate(table):
        limit_s = (until - time.perf_counter()) / (len(table) - number) / 2

        def cost(row=row, limit_s=limit_s) -> Row:
            taken = measure(row, limit_s)
            shares = zip(
                ("of TFLOP/s", "of GB/s", "plain method's of TFLOP/s"), taken.shares(row, ceiling), strict=True
            )
            return {"seconds": taken.seconds, "TFLOP": taken.tflop} | dict(shares)

        findings.add("costs", attempted(row.name, cost, until))


def as_workers_have_it(findings: Findings, model: Kandinsky, checker: EverySecond, size: Size, until: float) -> None:
    """Steps as CUDA graphs, and jobs that share their batches; without a GPU, steps as written."""
    graphs, most = model.graphs, max(size.trials) if model.device.type == "cuda" else 0
    worker = Worker(model, checker, size.samples, **ASKED["full" if size is FULL_SIZE else "tiny"])
    density = fit(model, BATCH, lambda *_: None).to(model.device)

    def capture() -> Row:
        begin = time.perf_counter()
        graphs.capture(most)
        missing = [rows for rows in sizes_up_to(most) if not graphs.fits(rows, TOKENS, PRIOR_STEPS)]
        if missing:
            raise RuntimeError(f"no graph of {', '.join(map(str, missing))} rows")
        return {"seconds": time.perf_counter() - begin}

    def step(trials: int) -> Row:
        run = partial(optimization_step(model, density, trials), lambda *_: None)
        run()
        return {"seconds": seconds(run, time.perf_counter() + 1)}

    part = "as workers have it"
    findings.add(part, attempted("captured", capture, until))
    for trials in size.trials:
        findings.add(part, attempted(f"optimisation step, {trials} trials", partial(step, trials), until))
    findings.add(part, attempted("a job of four", lambda: worker.job(until), until))
    together = f"{JOBS_AT_ONCE} jobs of one"
    findings.add(part, attempted(together, lambda: worker.company(JOBS_AT_ONCE, until), until))


def attempted(name: str, work: Callable[[], Row], until: float) -> Row:
    """The row of that name, with the peak of the device's memory, or why there is none."""
    if time.perf_counter() > until:
        return {"name": name, "result": LATE}
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        found = {"result": OK} | work()
    except TimeoutError as error:
        found = {"result": f"{LATE}: {error}"}
    except Exception as error:  # the other rows are worth having
        sentence = next(iter(str(error).splitlines()), "")
        found = {"result": f"failed: {type(error).__name__}: {sentence}"}
    return {"name": name} | found | {"peak GiB": torch.cuda.max_memory_allocated() / 2**30}


def facts(device: str, ceiling: Ceilings) -> Row:
    """What the figures depend on."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    measured = {"TFLOP/s in bfloat16": ceiling.tflops, "GB/s": ceiling.gigabytes_per_s}
    versions = {library: version_of(library) for library in LIBRARIES}
    return {"device": name} | measured | {"Python": platform.python_version(), "CUDA": torch.version.cuda} | versions


def check(size: Size, device: str, architecture: str, folder: Path, ends_s: Sequence[float]) -> Findings:
    """The parts; one that fails leaves the others their time."""
    begin = time.perf_counter()
    ceiling = ceilings(size, device)
    findings = Findings(folder, "gpu-check", facts(device, ceiling))
    ends = [begin + end_s for end_s in ends_s]
    model = cache(partial(build, size.parts, device))
    checker = partial(EverySecond, architecture, device)
    parts = {
        "features": lambda: features(findings, device, ends[0]),
        "a job of four": lambda: whole_jobs(findings, model(), checker(), size, ends[1]),
        "costs": lambda: costs(findings, model(), size, ceiling, ends[2]),
        "as workers have it": lambda: as_workers_have_it(findings, model(), checker(), size, ends[3]),
    }
    for part, work in parts.items():
        outcome = attempted(part, lambda work=work: work() or {}, ends[-1])
        if outcome["result"] != OK:
            findings.add(part, outcome)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at tiny sizes, without haste")
    parser.add_argument("--out", type=Path, default=Path("data/gpu-check"), help="the folder of the two files")
    args = parser.parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        sys.exit("The GPU check needs a CUDA device, and there is none here.")
    logging.set_verbosity_error()  # it warns that parts of the model should stay in float32, and lists none
    full, tiny = (FULL_SIZE, "cuda", "ViT-L-14"), (TINY_SIZE, "cpu", "ViT-S-32")
    findings = check(*(tiny if args.rehearse else full), args.out, [inf] * 4 if args.rehearse else ENDS_S)
    print(f"{findings.markdown} and {findings.json}")
    if findings.wrong:
        sys.exit(f"wrong on this device: {', '.join(findings.wrong)}")


if __name__ == "__main__":
    main()
