"""Small pictures of what a run's checks decode, for those who ask."""

import base64
import io
import time
from collections.abc import Sequence

from PIL import Image

from services.diffusion.checkers.safety import SafetyChecker, is_safe
from services.diffusion.runtime.observer import Snapshot
from services.diffusion.trials import MIN_VALIDITY
from services.jobs.record import Preview, PreviewPicture

INTERVAL_S = 0.5
PICTURES = 16
PIXELS = 128
_QUALITY = 75


class Previews:
    """One attempt's: it keeps, looks at and encodes nothing unless they are `wanted`."""

    def __init__(self, safety: SafetyChecker | None) -> None:
        self.wanted = False
        self._safety = safety
        self._step, self._next_s = 0, 0.0
        self._decoded: dict[int, Snapshot] = {}

    def see(self, step: int, snapshots: Sequence[Snapshot]) -> None:
        """Keep each trial's newest picture until the next preview."""
        if self.wanted:
            self._decoded |= {trial: snapshot for trial, snapshot in enumerate(snapshots) if snapshot.image}
            self._step = step

    def due(self) -> Preview | None:
        """The PICTURES rarest of the new pictures, the valid before others, without unsafe ones; every INTERVAL_S."""
        if not (self.wanted and self._decoded) or time.monotonic() < self._next_s:
            return None
        self._next_s = time.monotonic() + INTERVAL_S
        rarest = sorted(self._decoded.items(), key=lambda seen: _rank(seen[1]), reverse=True)[:PICTURES]
        self._decoded = {}
        pictures = [
            _picture(trial, snapshot, snapshot.image)
            for trial, snapshot in sorted(rarest)
            if snapshot.image and is_safe(snapshot.image, self._safety)
        ]
        return Preview(step=self._step, pictures=pictures) if pictures else None


def _rank(snapshot: Snapshot) -> tuple[bool, float]:
    return snapshot.validity is None or snapshot.validity >= MIN_VALIDITY, snapshot.bits


def _picture(trial: int, snapshot: Snapshot, image: Image.Image) -> PreviewPicture:
    validity = None if snapshot.validity is None else round(snapshot.validity, 3)
    bits, url = round(snapshot.bits, 2), _thumbnail(image)
    return PreviewPicture(trial=trial, bits=bits, validity=validity, url=url, climbed=snapshot.climbed)


def _thumbnail(image: Image.Image) -> str:
    small, file = image.convert("RGB"), io.BytesIO()
    small.thumbnail((PIXELS, PIXELS))
    small.save(file, "jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
