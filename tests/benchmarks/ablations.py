"""What each part of the method is for: all of it, then one part less or another in its place."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import patch

import torch

from services.diffusion import optimize, run, trials
from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.optimize import Optimization
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.steering import objective
from services.diffusion.steering.spaces import Parameters, Space
from services.diffusion.trials import Trial
from tests.benchmarks import setup
from tests.benchmarks.scores import HEAD, Made, made_of, row

COUNT, DIRECT_STEP = 4, 0.05

Patches = list[AbstractContextManager[Any]]


@dataclass(frozen=True)
class Task:
    """COUNT pictures of every concept with every seed, so many bits rare."""

    concepts: Sequence[str]
    seeds: Sequence[int]
    bits: float

    def calls(self, own: dict[str, Any], patches: Callable[[], Patches]) -> Iterator[Callable[[], Made]]:
        for concept, seed in product(self.concepts, self.seeds):
            yield partial(made, concept, GenerationConfig(self.bits, seed, COUNT, **own), patches)


USUAL = Task(["handbag", "chair", "lamp", "cup"], [1000], 9.97)
HARD = Task(["handbag", "lamp", "vase"], [1000, 2000, 3000, 4000], 20.0)


class DirectSpace(Space):
    """The embedding itself in place of what leads to it: no prior in the loop."""

    def __init__(self, model: Kandinsky, subject: Subject, names: Any) -> None:
        super().__init__(model, subject, ["token"])

    def start(self, seed: int) -> Parameters:
        stacked = [part[None] for part in super().start(seed)]
        with torch.no_grad():
            (image_embeds,) = super().sample(stacked, self.noise(noise_of([seed]), 1))
        return [image_embeds]

    @property
    def steps(self) -> list[float]:
        return [DIRECT_STEP]

    def sample(self, parameters: Parameters, _noise: torch.Tensor) -> torch.Tensor:
        return parameters[0]


def give_up(_self: Optimization, trial: Trial) -> None:
    """In place of the fallback."""
    trial.ended, trial.arrived = True, False


def nothing(x: torch.Tensor, *_: object) -> torch.Tensor:
    """In place of a hinge."""
    return torch.zeros_like(x)


def variants() -> dict[str, tuple[dict[str, Any], Callable[[], Patches]]]:
    """Name → what the config has of its own, and what is replaced."""
    return {
        "all of it": ({}, list),
        "token": ({"space": ["token"]}, list),
        "adjective": ({"space": ["adjective"]}, list),
        "token and lora": ({"space": ["token", "lora"]}, list),
        "the embedding itself": ({}, lambda: [patch.object(run, "Space", DirectSpace)]),
        "no anchor": ({}, lambda: [patch.object(objective, "floor_loss", nothing)]),
        "no residual hinge": ({}, lambda: [patch.object(objective, "ceiling_loss", nothing)]),
        "no check": ({"trials": COUNT}, lambda: [patch.object(trials, "MIN_VALIDITY", 0.0)]),
        "no halving": ({}, lambda: [patch.object(Optimization, "_halve", lambda _self: None)]),
        "no fallback": ({}, lambda: [patch.object(Optimization, "_fall_back", give_up)]),
        "no early stop": ({}, lambda: [patch.object(optimize, "ENOUGH", 64)]),
    }


def made(concept: str, config: GenerationConfig, patches: Callable[[], Patches]) -> Made:
    models = setup.models()
    with ExitStack() as replaced:
        for one in patches():
            replaced.enter_context(one)
        parts = (models.model, setup.density(concept), models.checker, setup.subject(concept))
        outputs = generate(Run(*parts, config), setup.progress).outputs
    return made_of(concept, [o.image for o in outputs], torch.stack([o.image_embeds for o in outputs]))


def table(task: Task, names: Iterable[str]) -> Iterator[str]:
    """Markdown, a line at a time."""
    yield HEAD
    for name in names:
        own, patches = variants()[name]
        yield row(name, task.calls(own, patches), task.bits)


def lines() -> Iterator[str]:
    """Every variant at the usual target."""
    yield from table(USUAL, variants())


def hard_lines() -> Iterator[str]:
    """What is for trials that do not come through at once, at a target that few reach."""
    yield from table(HARD, ["all of it", "no halving", "no fallback"])
