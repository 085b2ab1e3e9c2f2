"""What a signal asks of the worker: claim no more, and end the running job or hand it back."""

import time


class Shutdown:
    """Begins with SIGTERM; the running job then has `grace_s` seconds to end by itself."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._began: float | None = None

    def begin(self, **_: object) -> None:
        """Take Celery's signal `worker_shutting_down`; a second one changes nothing."""
        if self._began is None:
            self._began = time.monotonic()

    def begun(self) -> bool:
        """Whether no job is to be claimed any more."""
        return self._began is not None

    def grace_is_over(self) -> bool:
        """Whether the running job is to be handed back."""
        return self._began is not None and time.monotonic() >= self._began + self._grace_s
