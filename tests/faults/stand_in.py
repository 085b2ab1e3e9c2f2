"""A worker without a model: the sampler is a pause, everything else is what `rarebit worker` runs.

A request says in its `metadata` how long a step takes, `step_s`, and in which phase its worker dies, `dies_in`.
"""

import logging
import os
import signal
import time
from types import SimpleNamespace

import torch
from PIL import Image

import worker.app
from services.diffusion.found import Found
from services.diffusion.generate import Generation
from services.diffusion.run import Output
from services.diffusion.runtime.observer import Snapshot
from services.found import FoundFacts
from services.jobs.accepted import AcceptedRequest
from services.objects.storage import Storage
from services.sampler.models import open_batching
from services.settings import Settings
from worker.attempt import Attempt
from worker.tasks import Runner

DIM = 8
logger = logging.getLogger(__name__)


class StandIn(Runner):
    """Goes through the phases of a run, and checks what it hands out: one step in each, `request.steps` to optimise."""

    def _generate(self, attempt: Attempt) -> Generation:
        request = attempt.request
        step_s, dies_in = float(request.metadata.get("step_s", 0)), request.metadata.get("dies_in")
        outputs = [_output(request, index) for index in range(request.count)]
        logger.info("job %s: attempt %d: runs", attempt.claim.id, attempt.claim.attempt)
        for phase in ("load", "fit", "optimize", "check", "decode"):
            for step in range(steps := request.steps if phase == "optimize" else 1):
                attempt.report(phase, step, steps, None)
                if phase == dies_in:
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(step_s)
            if phase == "optimize":
                attempt.observe(request.steps, [_seen(output) for output in outputs])
        return Generation(outputs, [], {})


def _output(request: AcceptedRequest, index: int) -> Output:
    """The same on every attempt, as the sampler's are."""
    seed = (request.seed or 0) + index
    names = {"model": "stand-in", "checker": "none", "concept": request.concept, "prompt": request.prompt}
    facts = FoundFacts(**names, space=[], seed=seed, strength=0.5, bits=10.0, validity=0.9)
    return Output(
        image=Image.new("RGB", (64, 64), (seed % 256, seed // 256 % 256, index)),
        seed=seed,
        rarity={"percentile": 99.9, "bits": 10.0, "d2": 80.0, "residual": 0.5},
        anchor=0.3,
        validity=0.9,
        novelty_bits=None,
        found=Found(facts, torch.full((DIM,), float(seed)), torch.zeros(DIM), []),
        replay={"model": "stand-in"},
    )


def _seen(output: Output) -> Snapshot:
    """As a check sees it."""
    return Snapshot(output.rarity["bits"], output.validity, 0.0, 0.0, "arrived", output.image)


def load_models(settings: Settings, _storage: Storage) -> SimpleNamespace:
    """No more than where one would be, and as many jobs at once as a worker with models would run."""
    batching, jobs = open_batching(settings, "cpu")
    densities = SimpleNamespace(family="stand-in-0", lookups={})
    model = SimpleNamespace(device=torch.device("cpu"))
    return SimpleNamespace(model=model, checker=None, densities=densities, safety=None, batching=batching, jobs=jobs)


def main() -> None:
    """`rarebit worker`, without loading models."""
    worker.app.load_models = load_models
    worker.app.Runner = StandIn
    worker.app.main()


if __name__ == "__main__":
    main()
