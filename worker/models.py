"""Everything that a worker loads once."""

from dataclasses import dataclass

import torch

from services.diffusion.kandinsky import Kandinsky
from services.diffusion.safety import SafetyChecker, load_safety_checker
from services.diffusion.validity import Checker, load_checker
from services.settings import Settings
from services.storage import Storage
from worker.densities import Densities


@dataclass(frozen=True)
class Models:
    """The generator, its judge and the densities, on one device; `safety` is None where content safety is off."""

    model: Kandinsky
    checker: Checker
    densities: Densities
    safety: SafetyChecker | None


def load_models(settings: Settings, storage: Storage) -> Models:
    """Load what `settings` name; CheckpointError in one sentence when a folder is missing or corrupt."""
    from transformers.utils.logging import disable_progress_bar  # only after services.diffusion has mended torchvision

    disable_progress_bar()
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, settings.dtype)
    model = Kandinsky.load(settings.prior, settings.decoder, device=device, dtype=dtype)
    densities = Densities(model, storage, samples=settings.density_samples, capacity=settings.density_cache)
    checker = load_checker(settings.scorer, device=device, dtype=dtype)
    safety = None if settings.safety is None else load_safety_checker(settings.safety, device=device)
    return Models(model, checker, densities, safety)
