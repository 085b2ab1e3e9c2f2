"""What a worker tells of itself with its heartbeats: how busy it is, where densities were, what its device takes."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType


class Meter:
    """Adds up from the worker's start on; `memory` tells the share of its device that it has had in use, if it has one.

    `lookups` are densities by where they were, `energy_mj` tells what the device has taken.
    """

    def __init__(
        self,
        lookups: Mapping[str, int] = MappingProxyType({}),
        energy_mj: Callable[[], int] = lambda: 0,
        memory: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.memory = memory
        self._lookups, self._energy_mj = lookups, energy_mj
        self._lock = threading.Lock()
        self._running, self._since_s = 0, time.monotonic()
        self._busy_s = self._idle_s = 0.0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A job runs meanwhile, perhaps beside others."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def counts(self) -> Counter[str]:
        """By the names that the store's counters have; times are in ms."""
        self._change(0)
        times = {"worker:busy": int(1000 * self._busy_s), "worker:idle": int(1000 * self._idle_s)}
        found = {f"densities:{where}": number for where, number in self._lookups.items()}
        return Counter(times | found | {"energy:mj": self._energy_mj()})

    def _change(self, by: int) -> None:
        with self._lock:
            now_s = time.monotonic()
            if self._running:
                self._busy_s += now_s - self._since_s
            else:
                self._idle_s += now_s - self._since_s
            self._running, self._since_s = self._running + by, now_s
