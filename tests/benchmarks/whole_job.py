"""A worker's job at full size, with random weights: an open_clip checker looks at every picture, and a rule answers."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from services.diffusion.checkers.open_clip import OpenClipChecker
from services.diffusion.checkers.reading import Reading
from services.diffusion.density.fit import fit_density
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.generate import Generation, generate, trials_for
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.runtime.batching import ALONE, Batching, Sharing
from services.diffusion.runtime.savepoint import Savepoint
from services.sampler.models import WAIT_MS
from services.sampler.requests import config_of
from services.texts.concepts import DEFAULT_PROMPT

import open_clip  # isort: skip
from tests.accepted import accepted

CONCEPT, COUNT = "handbag", 4
ONE_BY_ONE = 4  # the share of them that is run alone, for want of time
SUBJECT = Subject(CONCEPT, DEFAULT_PROMPT)
NOUNS = [CONCEPT, *(f"thing {number}" for number in range(100))]


class EverySecond:
    """Says yes to every second picture, after it has looked at it with random weights."""

    def __init__(self, architecture: str, device: str) -> None:
        with torch.device(device):
            model, _, preprocess = open_clip.create_model_and_transforms(architecture, device=device)
        parts = (model.eval().requires_grad_(False), preprocess, open_clip.get_tokenizer(architecture))
        self.clip = OpenClipChecker(*parts, nouns=NOUNS, nothing="nothing recognisable", fingerprint="random")
        self.fingerprint, self.answers, self.looks = "random", cycle([1.0, 0.0]), 0

    def reading(self, concept: str) -> Reading:
        return self.clip.reading(concept)

    def p_valid(self, images: list[Image.Image], concept: str) -> Tensor:
        self.clip.p_valid(images, concept)
        self.looks += len(images)
        return torch.tensor([next(self.answers) for _ in images], dtype=torch.float64)


class Clock:
    """A report that stops a run at its deadline."""

    def __init__(self, deadline: float) -> None:
        self.begin, self.deadline = time.perf_counter(), deadline

    def __call__(self, phase: str, step: int, steps: int, _bits: float | None) -> None:
        if (now := time.perf_counter()) > self.deadline:
            raise TimeoutError(f"{phase} {step}/{steps} after {now - self.begin:.1f} s")


class Worker:
    """Its first job fits the density and warms up; the later ones are as they go on to be."""

    def __init__(self, model: Kandinsky, checker: EverySecond, samples: int, **config: Any) -> None:
        self.model, self.checker, self.samples = model, checker, samples
        self.config: GenerationConfig = config_of(accepted(concept=CONCEPT, count=COUNT, seed=0, **config))
        self.density: DensityModel | None = None

    def job(self, deadline: float) -> dict[str, Any]:
        """What a job of four costs; TimeoutError says how far it came until the deadline."""
        report, looks, kept = Clock(deadline), self.checker.looks, list[bytes]()
        density = self.density = self.density or self._fit(report)
        fitted = time.perf_counter()
        savepoint, parts = Savepoint(keep=kept.append), (self.model, density, self.checker)
        made = generate(Run(*parts, SUBJECT, self.config), report, savepoint)
        done = time.perf_counter()
        milliseconds = {f"{name} s": ms / 1000 for name, ms in made.timings_ms.items()}
        times = {"seconds": done - report.begin, "fit s": fitted - report.begin, **milliseconds}
        bits = max(output.rarity["bits"] for output in made.outputs)
        seen = {"looked at": self.checker.looks - looks, "savepoints": len(kept), "bits": bits}
        return times | {"pictures": len(made.outputs)} | seen

    def company(self, count: int, deadline: float) -> dict[str, Any]:
        """What `count` jobs of one picture cost that share their batches, beside the same one after the other."""
        density = self.density = self.density or self._fit(Clock(deadline))
        sharing = Sharing(wait_s=WAIT_MS / 1000, merges=True)
        sharing.start()

        def job(seed: int, batching: Batching) -> Generation:
            config = replace(self.config, count=1, trials=trials_for(1), seed=seed)
            parts = (self.model, density, self.checker, SUBJECT)
            return generate(Run(*parts, config), Clock(deadline), batching=batching)

        begin = time.perf_counter()
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(partial(job, batching=sharing.batching), range(count)))
        middle = time.perf_counter()
        for seed in range(count // ONE_BY_ONE):
            job(seed, ALONE)
        alone_s = (time.perf_counter() - middle) * count / (count // ONE_BY_ONE)
        at_once_s = middle - begin
        return {"at once s": at_once_s, "one by one s": alone_s, "times the throughput": alone_s / at_once_s}

    def _fit(self, report: Callable[..., None]) -> DensityModel:
        return fit_density(self.model, SUBJECT, samples=self.samples, seed=0, report=report)
