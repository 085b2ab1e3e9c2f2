"""Density models where the worker finds them: in memory, in the object store, or by fitting them."""

import logging
import tempfile
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from services.density_models import BASELINE_POINTS, Baseline, DensityFacts, Point, baseline_key, family_of
from services.diffusion.density.fit import Report, fit_density
from services.diffusion.density.model import META, WEIGHTS, DensityModel, density_key
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.model import Kandinsky
from services.errors import CheckpointError
from services.objects.keys import DENSITIES
from services.objects.storage import Storage

PICTURE_SAMPLES = 2000  # at most for a picture that is varied, which somebody waits for: bits hold as with 5,000
FIT_SEED = 0  # one seed for everybody: whoever fits a density model makes the same artefact
_MEDIA_TYPES = {WEIGHTS: "application/octet-stream", META: "application/json"}  # in the order in which they are stored
logger = logging.getLogger(__name__)

Place = Literal["memory", "store", "fit"]  # as figures.py has them
FitLock = Callable[[str, Report], AbstractContextManager[Report]]


@dataclass(frozen=True)
class Artefact:
    """A density, where it is stored, and when it was fitted, if that is known."""

    key: str
    density: DensityModel
    fitted_at: datetime | None


class Densities:
    """The density models of one Kandinsky, the `capacity` last used in memory."""

    def __init__(self, model: Kandinsky, storage: Storage, *, samples: int, capacity: int) -> None:
        self._model = model
        self._storage = storage
        self._samples = samples
        self._capacity = capacity
        self.lookups = Counter[str]()
        """How often a density was found where."""
        self._memory: OrderedDict[str, Artefact] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def family(self) -> str:
        """What the densities have in common beside FIT_SEED: the model, and the number of samples."""
        return family_of(self._model.fingerprint, self._samples)

    def get(self, subject: Subject, report: Report, fit_lock: FitLock, picture: str = "") -> Artefact:
        """The density of the subject; whoever holds `fit_lock` fits a missing one, the others wait for it.

        That of a picture's variations lies below the prefix `picture`, and ends with it.

        Raises StorageError, and whatever `report` raises to stop.
        """
        samples = self._samples if subject.start is None else min(self._samples, PICTURE_SAMPLES)
        key = picture + DENSITIES + density_key(self._model.fingerprint, subject, samples)
        where: Place = "memory"
        if (found := self._memory.get(key)) is None:
            where, found = "store", self._fetch(key)
        if found is None:
            with fit_lock(key, report) as report_fit:
                if (found := self._fetch(key)) is None:
                    where, found = "fit", self._fit(key, subject, samples, report_fit)
        self._remember(found, where)
        return found

    def keep(self, artefact: Artefact) -> None:
        """Store again what the store may have lost since it came into memory."""
        last = (baseline_key(artefact.key), f"{artefact.key}/{META}")
        if not all(map(self._storage.exists, last)):
            self._store(artefact)

    def facts(self, subject: Subject, artefact: Artefact) -> DensityFacts:
        """What is told of the subject's density; another concept in another prompt may be the same text."""
        density = artefact.density
        return DensityFacts(
            concept=subject.concept,
            prompt=subject.prompt,
            samples=density.samples,
            components=len(density.subspace.components),
            variance_kept=density.variance_kept,
            fitted_at=artefact.fitted_at,
            key=artefact.key,
            family=self.family,
        )

    def _fetch(self, key: str) -> Artefact | None:
        """The stored model; None where there is none, or a damaged one. The JSON is stored last."""
        if not all(self._storage.exists(f"{key}/{name}") for name in _MEDIA_TYPES):
            return None
        with tempfile.TemporaryDirectory() as folder:
            for name in _MEDIA_TYPES:
                (Path(folder) / name).write_bytes(self._storage.get(f"{key}/{name}"))
            try:
                density = DensityModel.load(Path(folder))
            except CheckpointError as error:
                logger.warning("fitting %s anew: %s", key, error)
                return None
        return Artefact(key, density, self._fitted_at(key, density))

    def _fitted_at(self, key: str, density: DensityModel) -> datetime | None:
        """What the baseline says; a density of before there were any gets one, which does not know."""
        if self._storage.exists(baseline_key(key)):
            try:
                return Baseline.model_validate_json(self._storage.get(baseline_key(key))).fitted_at
            except ValidationError as error:
                logger.warning("writing the baseline of %s anew: %s", key, error)
        self._store_baseline(Artefact(key, density, None))
        return None

    def _fit(self, key: str, subject: Subject, samples: int, report: Report) -> Artefact:
        self._tell_of_another_model()
        density = fit_density(self._model, subject, samples=samples, seed=FIT_SEED, report=report)
        artefact = Artefact(key, density, datetime.now(UTC))
        self._store(artefact)
        return artefact

    def _tell_of_another_model(self) -> None:
        """Once, before the first fit: why nothing is found where there are densities."""
        own = f"{DENSITIES}models/{self._model.fingerprint}"
        if self._storage.exists(own):
            return
        if self._storage.holds(DENSITIES):
            logger.warning(
                "the stored densities are of another model than this one (%s); each is fitted anew when asked for",
                self._model.fingerprint[:12],
            )
        self._storage.put(own, b"", "application/octet-stream")

    def _store(self, artefact: Artefact) -> None:
        self._store_baseline(artefact)
        with tempfile.TemporaryDirectory() as folder:
            artefact.density.save(Path(folder))
            for name, media_type in _MEDIA_TYPES.items():
                self._storage.put(f"{artefact.key}/{name}", (Path(folder) / name).read_bytes(), media_type)

    def _store_baseline(self, artefact: Artefact) -> None:
        rows = artefact.density.baseline(BASELINE_POINTS)
        points = [Point(x=round(x, 2), y=round(y, 2), bits=round(bits, 2)) for x, y, bits in rows]
        data = Baseline(fitted_at=artefact.fitted_at, points=points).model_dump_json()
        self._storage.put(baseline_key(artefact.key), data.encode(), "application/json")

    def _remember(self, artefact: Artefact, where: Place) -> None:
        with self._lock:
            self.lookups[where] += 1
            self._memory[artefact.key] = artefact
            self._memory.move_to_end(artefact.key)
            while len(self._memory) > self._capacity:
                self._memory.popitem(last=False)
