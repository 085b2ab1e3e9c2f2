"""One worker fits a density model, the others wait for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError
from redis.lock import Lock

from services.diffusion.density.fit import Report
from services.jobs.leases import Leases
from services.jobs.store import SLOT
from services.sampler.densities import FitLock

_WAIT_S = 0.5


@contextmanager
def fit_lock(client: Redis, ttl_s: float, key: str, report: Report) -> Iterator[Report]:
    """Hold the lock on the density `key`; yields a report that keeps it alive.

    A dead holder loses it after `ttl_s` seconds. Two holders would only work twice: the artefact is the same.
    While waiting, `report` is called, so that it can stop the wait.
    """
    lock = client.lock(f"{SLOT}:fit:{key}", timeout=ttl_s)
    while not _acquire(lock):
        report("fit", 0, 1, None)

    def report_and_renew(phase: str, step: int, steps: int, bits: float | None) -> None:
        with suppress(RedisError):
            lock.reacquire()
        report(phase, step, steps, bits)

    try:
        yield report_and_renew
    finally:
        with suppress(RedisError):
            lock.release()


@contextmanager
def owned(leases: Leases, picture: str, fit_lock: FitLock, key: str, report: Report) -> Iterator[Report]:
    """Hold the lock, and see to it that what is going to be stored at `key` has an end before it is there.

    It ends with the `picture` below whose prefix it lies; else it is a text's, among the last that were used.
    """
    with fit_lock(key, report) as report_fit:
        if picture:
            leases.lend(picture)
        else:
            leases.use_density(key)
        yield report_fit


def _acquire(lock: Lock) -> bool:
    try:
        return bool(lock.acquire(blocking_timeout=_WAIT_S))
    except RedisError:  # away: the wait goes on until it is back or the report stops it
        time.sleep(_WAIT_S)
        return False
