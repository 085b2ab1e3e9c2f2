"""A process that is started again whenever it ends, as long as that helps."""

import time
from collections.abc import Callable

from deploy.local.sentence import say
from deploy.local.stack.child import Child, StackError

TRIES = 5  # starts in a row that may end before the process is ready
STEADY_S = 60.0  # after which its earlier ends count no more
LONGEST_PAUSE_S = 30.0


class Supervised:
    """Starts a process; `tend` starts it again: at first at once, then after pauses that double until it is steady."""

    def __init__(self, start: Callable[[], Child], shows_ready: Callable[[], bool]) -> None:
        self._start, self._shows_ready = start, shows_ready
        self._ends = self._failed_starts = 0  # in a row
        self._begin()

    def _begin(self) -> None:
        self.child = self._start()
        self._due: float | None = None
        self._ready_since: float | None = None

    def is_ready(self) -> bool:
        """Whether this start has come so far that the process was ready."""
        if self._ready_since is None and self._shows_ready():
            self._ready_since, self._failed_starts = time.monotonic(), 0
        return self._ready_since is not None

    def tend(self) -> None:
        """See to it that the process runs; StackError, with its last words, when it ends again and again unready."""
        if self._due is not None:
            if time.monotonic() >= self._due:
                self._begin()
        elif sentence := self.child.how_it_ended():
            self._has_ended(sentence)
        elif self.is_ready() and time.monotonic() - (self._ready_since or 0.0) > STEADY_S:
            self._ends = 0

    def _has_ended(self, sentence: str) -> None:
        self._failed_starts += self._ready_since is None
        if self._failed_starts >= TRIES:
            raise StackError(f"{sentence}; it was started {TRIES} times, and never got ready")
        pause_s = min(2.0 ** (self._ends - 1), LONGEST_PAUSE_S) if self._ends else 0.0
        say(f"{sentence}; it is started again {f'in {pause_s:g} s' if pause_s else 'now'}")
        self._ends += 1
        self._due = time.monotonic() + pause_s
