"""Everything that a worker loads once."""

from dataclasses import dataclass
from functools import partial

import torch

from services.checkpoints import found_at
from services.diffusion.checkers.open_clip import Checker, load_checker
from services.diffusion.checkers.safety import SafetyChecker, load_safety_checker
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.runtime.batching import Batching, Sharing, alone
from services.objects.storage import Storage, open_storage
from services.sampler.densities import Densities
from services.sampler.keeping import Keeping
from services.settings import Settings

WAIT_MS = 10  # on a GPU, where a step takes 50 at the least
JOBS = 16  # at once, if there is room for their trials
KEEP_PATIENCE_S = 5.0  # of a start, with a store that is away, for what can be made again


@dataclass(frozen=True)
class Models:
    """The generator, its judge and the densities, on one device; `safety` is None where content safety is off.

    Up to `jobs` run at once, by `batching`.
    """

    model: Kandinsky
    checker: Checker
    densities: Densities
    safety: SafetyChecker | None
    batching: Batching
    jobs: int


def load_models(settings: Settings, storage: Storage) -> Models:
    """Load what `settings` name; CheckpointError in one sentence when a folder is missing or corrupt."""
    from transformers.utils.logging import disable_progress_bar  # only after services.diffusion has mended torchvision

    disable_progress_bar()
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, settings.dtype)
    keep, found = Keeping(open_storage(settings, KEEP_PATIENCE_S)), partial(found_at, settings.data_dir)
    parts = found("prior", settings.prior), found("decoder", settings.decoder)
    model = Kandinsky.load(*parts, device=device, dtype=dtype, keep=keep)
    graphs = model.graphs  # made before there are threads, as what it captures is
    if model.device.type == "cuda":
        graphs.capture(settings.trials_at_once)
    densities = Densities(model, storage, samples=settings.density_samples, capacity=settings.density_cache)
    checker = load_checker(found("scorer", settings.scorer), device=device, dtype=dtype, keep=keep)
    safety = None if settings.safety is None else load_safety_checker(found("safety", settings.safety), device=device)
    return Models(model, checker, densities, safety, *open_batching(settings, model.device.type))


def open_batching(settings: Settings, device: str) -> tuple[Batching, int]:
    """How jobs come to the device, and how many at once: on a CPU, which gains nothing by company, one unless told."""
    wait_ms = (0 if device == "cpu" else WAIT_MS) if settings.share_wait_ms is None else settings.share_wait_ms
    if wait_ms == 0:
        return alone(settings.trials_at_once), 1
    sharing = Sharing(wait_s=wait_ms / 1000, merges=device != "cpu", trials=settings.trials_at_once)
    sharing.start()
    return sharing.batching, JOBS
