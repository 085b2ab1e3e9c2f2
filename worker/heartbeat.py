"""A thread that keeps the running jobs ours and returns dead workers' jobs to the queue."""

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from services.errors import LeaseLostError, ServiceError
from services.jobs.leases import Leases
from worker.attempt import Attempt
from worker.health import Health
from worker.meter import Meter

BEATS = 6  # in a lease, so that one may be late before anybody takes the worker for dead
DEAF_BEATS = 2 * BEATS  # two leases: far longer than a consumer takes to come back after a restart of Redis
STALL_S = 600.0  # a run without a step for so long is hung: its lease is left to expire
logger = logging.getLogger(__name__)


class DeafError(ServiceError):
    """Jobs wait, this worker is idle, and no hint reaches it."""


class Heartbeat(threading.Thread):
    """Beats every `interval_s` seconds, at first at once; a heartbeat that fails ends the process."""

    def __init__(
        self, leases: Leases, interval_s: float, health: Health | None = None, meter: Meter | None = None
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._leases = leases
        self._interval_s = interval_s
        self._health = health or Health(None, interval_s)
        self._meter, self._told = meter or Meter(), Counter[str]()
        self._attempts: set[Attempt] = set()
        self._deaf_beats = 0

    def run(self) -> None:
        try:
            while True:
                self.beat()
                time.sleep(self._interval_s)
        except DeafError as error:
            logger.critical("the worker ends: %s", error)
            os._exit(1)  # there is nothing to finish, and a deaf consumer may not heed a signal
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def beat(self) -> None:
        """Renew before recovering: after an outage of Redis our own lease must not count as a dead worker's.

        Raises DeafError.
        """
        try:
            self._renew()
            counts = self._meter.counts()
            for job_id in self._leases.recover(counts - self._told, self._meter.memory()):
                logger.warning("job %s: its worker died", job_id, extra={"job": job_id})
            self._told = counts
            self._listen()
            hears = True
        except RedisError as error:
            self._deaf_beats, hears = 0, False
            logger.warning("heartbeat: %s", error)
        self._health.tell(stalled=any(map(_is_stalled, tuple(self._attempts))), hears=hears)

    @contextmanager
    def keeping(self, attempt: Attempt) -> Iterator[None]:
        """Renew the lease of this attempt meanwhile."""
        self._attempts.add(attempt)
        try:
            with self._meter.busy():
                yield
        finally:
            self._attempts.discard(attempt)
            self._deaf_beats = 0

    def _listen(self) -> None:
        """Count the beats that found us idle while jobs wait; `recover` has just seen to it that there are hints."""
        waiting = 0 if self._attempts else self._leases.waiting()
        self._deaf_beats = self._deaf_beats + 1 if waiting else 0
        if self._deaf_beats > DEAF_BEATS:
            since_s = DEAF_BEATS * self._interval_s
            raise DeafError(f"{waiting} jobs wait, and none has reached this idle worker for {since_s:g} s")

    def _renew(self) -> None:
        for attempt in tuple(self._attempts):
            if _is_stalled(attempt):
                continue
            try:
                self._leases.renew(attempt.claim)
            except LeaseLostError as error:
                logger.warning("heartbeat: %s", error)


def _is_stalled(attempt: Attempt) -> bool:
    return time.monotonic() - attempt.last_step > STALL_S
