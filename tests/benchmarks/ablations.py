"""What each part of the method is for: all of it, then one part less or another in its place."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

import torch

from services.diffusion import generate as generating
from services.diffusion import objective, optimize, trials
from services.diffusion.generate import generate
from services.diffusion.kandinsky import Kandinsky
from services.diffusion.optimize import Optimization, noise_of
from services.diffusion.recipe import Recipe
from services.diffusion.spaces import Space
from services.diffusion.subject import Subject
from services.diffusion.trials import Trial
from tests.benchmarks import setup
from tests.benchmarks.scores import HEAD, Made, made_of, row

CONCEPTS = ["handbag", "chair", "lamp", "cup"]
SEEDS, COUNT, BITS = (1000,), 4, 9.97
DIRECT_STEP = 0.05

Patches = list[AbstractContextManager[Any]]


class DirectSpace(Space):
    """The embedding itself in place of what leads to it: no prior in the loop."""

    def __init__(self, model: Kandinsky, subject: Subject, names: Any) -> None:
        super().__init__(model, subject, ["token"])

    def start(self, seed: int) -> list[torch.Tensor]:
        with torch.no_grad():
            (embeds,) = super().sample([super().start(seed)], noise_of([seed]))
        return [embeds.requires_grad_()]

    @property
    def steps(self) -> list[float]:
        return [DIRECT_STEP]

    def sample(self, rows: Any, generators: Any) -> torch.Tensor:
        return torch.stack([embeds for (embeds,) in rows])


def give_up(_self: Optimization, trial: Trial) -> None:
    """In place of the fallback."""
    trial.ended, trial.arrived = True, False


def nothing(x: torch.Tensor, *_: object) -> torch.Tensor:
    """In place of a hinge."""
    return torch.zeros_like(x)


def variants() -> dict[str, tuple[dict[str, Any], Callable[[], Patches]]]:
    """Name → what the recipe has of its own, and what is replaced."""
    return {
        "all of it": ({}, list),
        "token": ({"space": ["token"]}, list),
        "adjective": ({"space": ["adjective"]}, list),
        "token and lora": ({"space": ["token", "lora"]}, list),
        "the embedding itself": ({}, lambda: [patch.object(generating, "Space", DirectSpace)]),
        "no anchor": ({}, lambda: [patch.object(objective, "floor_loss", nothing)]),
        "no residual hinge": ({}, lambda: [patch.object(objective, "ceiling_loss", nothing)]),
        "no check": ({"trials": COUNT}, lambda: [patch.object(trials, "MIN_VALIDITY", 0.0)]),
        "no halving": ({}, lambda: [patch.object(Optimization, "_halve", lambda _self: None)]),
        "no fallback": ({}, lambda: [patch.object(Optimization, "_fall_back", give_up)]),
        "no early stop": ({}, lambda: [patch.object(optimize, "ENOUGH", 64)]),
    }


def calls(own: dict[str, Any], patches: Callable[[], Patches]) -> Iterator[Callable[[], Made]]:
    for concept in CONCEPTS:
        for seed in SEEDS:
            yield lambda concept=concept, seed=seed: made(concept, seed, own, patches())


def made(concept: str, seed: int, own: dict[str, Any], patches: Patches) -> Made:
    models, recipe = setup.models(), Recipe(BITS, seed, COUNT, **own)
    with ExitStack() as replaced:
        for one in patches:
            replaced.enter_context(one)
        outputs = generate(models.model, setup.density(concept), models.checker, recipe, setup.progress).outputs
    return made_of(concept, [o.image for o in outputs], torch.stack([o.image_embeds for o in outputs]))


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield HEAD
    for name, (own, patches) in variants().items():
        yield row(name, calls(own, patches), BITS)
