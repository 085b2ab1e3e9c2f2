"""Rows of jobs that run at once, worked on in batches of what is alike: dynamic batching, as inference servers have it.

A GPU takes a step of 8 rows in the time of 64, so that jobs which share their steps share their time.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from queue import SimpleQueue
from typing import Any, Generic, Protocol

from services.diffusion.runtime.memory import OnRows, Result, Row, RowBatches, Work, unseen

logger = logging.getLogger(__name__)

TRIALS = 64  # in one step
PICTURES = 8  # decoded at once


class Batcher(Protocol):
    """Works on rows that are all at hand."""

    def map(self, work: Work[Row, Result], rows: list[Row], like: Hashable, on_step: OnRows = unseen) -> list[Result]:
        """A result for each row, in order; rows of others for the same work that are `like` these may go with them.

        `on_step` may raise to leave; it is called in the caller's own thread.
        """


@dataclass(frozen=True)
class Batching:
    """How a job's rows come to the device: a batcher for its optimisation steps, and one for pictures to be decoded."""

    steps: Callable[[], Batcher]
    pictures: Callable[[], Batcher]
    joined: Callable[[], AbstractContextManager[None]] = nullcontext  # while the job has rows now and then


def alone(trials: int = TRIALS) -> Batching:
    """Up to `trials` at once, in the job's own thread."""
    return Batching(partial(RowBatches, trials), partial(RowBatches, PICTURES))


ALONE = alone()


class _Left(Exception):  # noqa: N818  no error: nobody waits for the work any more
    """Everybody whose rows these are has left."""


@dataclass(eq=False)
class _Request(Generic[Row, Result]):
    """Rows of one caller, which hears in `answers` of steps and of the end."""

    batches: RowBatches  # how many rows fit, as far as this caller knows
    work: Work[Row, Result]
    rows: list[Row]
    like: Hashable
    since: float = field(default_factory=time.monotonic)
    answers: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    left: bool = False

    def answer(self, on_step: OnRows) -> list[Result]:
        """Wait for the result, with each step on the way. Raises what the work or `on_step` raises."""
        try:
            while True:
                kind, value = self.answers.get()
                if kind == "step":
                    on_step(*value)
                elif kind == "error":
                    raise value
                else:
                    own: list[Result] = value
                    return own
        finally:
            self.left = True


class Sharing(threading.Thread):
    """The one thread that works on the rows of all who have joined.

    It begins as soon as everybody waits for it, or somebody has waited `wait_s`. Without `merges` callers take turns,
    each with a batch to itself, which is to the bit what it is alone: on a CPU larger batches are no quicker, and are
    rounded otherwise.
    """

    def __init__(self, *, wait_s: float, merges: bool, trials: int = TRIALS) -> None:
        super().__init__(name="sharing", daemon=True)
        self._wait_s, self._merges = wait_s, merges
        self._changed = threading.Condition()
        self._requests: list[_Request[Any, Any]] = []
        self._joined = 0
        self.batching = Batching(partial(_Shared, self, trials), partial(_Shared, self, PICTURES), self._joining)

    @contextmanager
    def _joining(self) -> Iterator[None]:
        """Have the others' rows wait for this thread's meanwhile."""
        self._join(1)
        try:
            yield
        finally:
            self._join(-1)

    def submit(self, request: _Request[Any, Any]) -> None:
        """Have the rows worked on; `request` hears of it."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify()

    def run(self) -> None:
        while True:
            self._work_on(self._next())

    def _join(self, more: int) -> None:
        with self._changed:
            self._joined += more
            self._changed.notify()

    def _next(self) -> list[_Request[Any, Any]]:
        """Whoever has waited longest, and those whose rows are like theirs."""
        with self._changed:
            while (patience_s := self._patience_s()) > 0:
                self._changed.wait(patience_s)
            first = self._requests[0]
            group = [one for one in self._requests if self._merges and one.like == first.like] or [first]
            self._requests = [one for one in self._requests if one not in group]
            return group

    def _patience_s(self) -> float:
        """How long to wait for more: not at all when all wait, for ever when nobody does."""
        if not self._requests:
            return threading.TIMEOUT_MAX
        if len(self._requests) >= self._joined:
            return 0.0
        return self._requests[0].since + self._wait_s - time.monotonic()

    def _work_on(self, group: list[_Request[Any, Any]]) -> None:
        """One batch for all; should that fail, one for each, so that whoever is at fault fails alone."""
        batches, rows = RowBatches(min(one.batches.size for one in group)), [row for one in group for row in one.rows]
        try:
            results = batches.map(group[0].work, rows, None, _told(group))
        except _Left:
            return
        except Exception as error:  # whatever it is, it is whoever waits that has to hear it
            if len(group) == 1:
                group[0].answers.put(("error", error))
                return
            logger.warning(
                "a batch of %d rows of %d jobs fails, each job has its own now: %s", len(rows), len(group), str(error)
            )
            results = None
        for one in group:
            if results is None:
                self._work_on([one])
            else:
                one.batches.size = batches.size
                own, results = results[: len(one.rows)], results[len(one.rows) :]
                one.answers.put(("result", own))


class _Shared:
    """A job's batcher of up to `size` rows, whose work `sharing` does."""

    def __init__(self, sharing: Sharing, size: int) -> None:
        self._sharing, self._batches = sharing, RowBatches(size)

    def map(self, work: Work[Row, Result], rows: list[Row], like: Hashable, on_step: OnRows = unseen) -> list[Result]:
        if not rows:
            return []
        request = _Request(self._batches, work, rows, like)
        self._sharing.submit(request)
        return request.answer(on_step)


def _told(group: list[_Request[Any, Any]]) -> OnRows:
    """Tell each of the steps of its own rows; raises when nobody is there any more."""
    ends = list(accumulate(len(one.rows) for one in group))

    def tell(first: int, last: int, step: int) -> None:
        if all(one.left for one in group):
            raise _Left
        for one, end in zip(group, ends, strict=True):
            begin = end - len(one.rows)
            own_first, own_last = max(first, begin), min(last, end)
            if own_first < own_last:
                one.answers.put(("step", (own_first - begin, own_last - begin, step)))

    return tell
