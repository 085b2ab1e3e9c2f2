"""Density models where the worker finds them: in memory, in the object store, or by fitting them."""

import logging
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from services.diffusion.density import META, WEIGHTS, DensityModel, density_key
from services.diffusion.fit import Report, fit_density
from services.diffusion.kandinsky import Kandinsky
from services.diffusion.subject import Subject
from services.errors import CheckpointError
from services.storage import Storage

PICTURE_SAMPLES = 2000  # at most for a picture that is varied, which somebody waits for: bits hold as with 5,000
FIT_SEED = 0  # one seed for everybody: whoever fits a density model makes the same artefact
_MEDIA_TYPES = {WEIGHTS: "application/octet-stream", META: "application/json"}  # in the order in which they are stored
logger = logging.getLogger(__name__)

FitLock = Callable[[str, Report], AbstractContextManager[Report]]


class Densities:
    """The density models of one Kandinsky, the `capacity` last used in memory."""

    def __init__(self, model: Kandinsky, storage: Storage, *, samples: int, capacity: int) -> None:
        self._model = model
        self._storage = storage
        self._samples = samples
        self._capacity = capacity
        self._memory: OrderedDict[str, DensityModel] = OrderedDict()

    def get(self, subject: Subject, report: Report, fit_lock: FitLock) -> DensityModel:
        """The density of the subject; whoever holds `fit_lock` fits a missing one, the others wait for it.

        Raises StorageError, and whatever `report` raises to stop.
        """
        samples = self._samples if subject.start is None else min(self._samples, PICTURE_SAMPLES)
        key = "densities/" + density_key(self._model.fingerprint, subject, samples)
        density = self._memory.get(key) or self._fetch(key)
        if density is None:
            with fit_lock(key, report) as report_fit:
                density = self._fetch(key) or self._fit(key, subject, samples, report_fit)
        self._remember(key, density)
        return density

    def _fetch(self, key: str) -> DensityModel | None:
        """The stored model; None where there is none, or a damaged one. The JSON is stored last."""
        if not self._storage.exists(f"{key}/{META}"):
            return None
        with tempfile.TemporaryDirectory() as folder:
            for name in _MEDIA_TYPES:
                (Path(folder) / name).write_bytes(self._storage.get(f"{key}/{name}"))
            try:
                return DensityModel.load(Path(folder))
            except CheckpointError as error:
                logger.warning("fitting %s anew: %s", key, error)
                return None

    def _fit(self, key: str, subject: Subject, samples: int, report: Report) -> DensityModel:
        density = fit_density(self._model, subject, samples=samples, seed=FIT_SEED, report=report)
        with tempfile.TemporaryDirectory() as folder:
            density.save(Path(folder))
            for name, media_type in _MEDIA_TYPES.items():
                self._storage.put(f"{key}/{name}", (Path(folder) / name).read_bytes(), media_type)
        return density

    def _remember(self, key: str, density: DensityModel) -> None:
        self._memory[key] = density
        self._memory.move_to_end(key)
        while len(self._memory) > self._capacity:
            self._memory.popitem(last=False)
