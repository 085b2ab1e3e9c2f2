"""Celery messages are hints: any number of them, in any order, runs every job once."""

import random

import pytest

from tests.faults.rig import HINTS

JOBS = 20


def repeated(store):
    store.lpush(HINTS, *store.lrange(HINTS, 0, -1) * 2)


def shuffled(store):
    hints = store.lrange(HINTS, 0, -1)
    random.Random(0).shuffle(hints)
    store.delete(HINTS)
    store.lpush(HINTS, *hints)


def lost(store):
    store.delete(HINTS)


def case(change):
    promise = "each job runs once, in its turn"
    return pytest.param(
        change, marks=pytest.mark.fault("queued", f"its Celery messages are {change.__name__}", promise)
    )


@pytest.mark.parametrize("change", [case(repeated), case(shuffled), case(lost)])
def test_every_job_runs_once_whatever_becomes_of_its_hint(broken, change):
    ids = [broken.submit() for _ in range(JOBS)]
    with broken.client() as store:
        change(store)
    broken.start_workers(2)
    records = broken.wait_for_end()
    assert {(record["status"], record["attempt"]) for record in records} == {("succeeded", "1")}
    started = [int(broken.record(job_id)["started_at"]) for job_id in ids]
    assert started == sorted(started)
