"""Laws of erasing: workers share it, and what cannot be erased keeps nothing else."""

import pytest

from services.jobs.leases import ERASURES, Leases
from services.objects.keys import upload_key, upload_prefix
from worker.sweeper import Sweeper

EXPIRY, FAILURES = "{rarebit}:expiry", "{rarebit}:not-erased"


@pytest.fixture
def plan(client, storage):
    """Have uploads erased, by name; those that are `stuck` cannot be: a file is in the place of their folder."""

    def plan(*names, stuck=False):
        for name in names:
            storage.put(upload_prefix(name).rstrip("/") if stuck else upload_key(name), b"", "image/png")
        client.zadd(EXPIRY, {upload_prefix(name): n for n, name in enumerate(names)}, nx=True)

    return plan


@pytest.fixture
def sweep(leases, storage):
    return Sweeper(leases, storage, interval_s=10).sweep


def test_what_cannot_be_erased_does_not_stand_before_what_can(plan, sweep, storage, client):
    stuck = [f"stuck-{n}" for n in range(150)]
    plan(*stuck, stuck=True)
    plan("last")
    client.zadd(EXPIRY, {upload_prefix("last"): 1000})
    sweep()
    assert not storage.exists(upload_key("last"))
    assert set(client.zrange(EXPIRY, 0, -1)) == {*map(upload_prefix, stuck)}


def test_all_that_is_due_is_erased_in_one_sweep(plan, sweep, storage, client):
    names = [f"n-{n}" for n in range(10 * ERASURES + 1)]
    plan(*names)
    sweep()
    assert client.zcard(EXPIRY) == 0
    assert not any(storage.exists(upload_key(name)) for name in names)


def test_two_workers_take_different_things(plan, leases, client):
    plan(*(f"n-{n}" for n in range(2 * ERASURES)))
    other = Leases(client, worker="worker-2", lease_s=30)
    first, second, third = leases.take_erasures(), other.take_erasures(), leases.take_erasures()
    assert len({erasure.prefix for erasure in first + second}) == 2 * ERASURES
    assert third == []


def test_what_a_dead_worker_took_is_taken_again_and_its_late_report_changes_nothing(plan, leases, client):
    plan("a")
    [lost] = leases.take_erasures()
    client.zadd(EXPIRY, {lost.prefix: 5})
    [taken] = leases.take_erasures()
    leases.end_erasure(lost)
    leases.put_off(lost)
    assert client.zscore(EXPIRY, "uploads/a/") == float(taken.token)
    leases.end_erasure(taken)
    assert client.zcard(EXPIRY) == 0


def test_pauses_grow_with_each_failure_and_end_with_the_erasure(plan, sweep, storage, client):
    plan("a", stuck=True)
    pauses_s = []
    for _ in range(12):
        client.zadd(EXPIRY, {"uploads/a/": 0})
        sweep()
        seconds, _ = client.time()
        pauses_s.append(round(client.zscore(EXPIRY, "uploads/a/") / 1000 - seconds))
    assert pauses_s == pytest.approx([10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600], abs=1)
    assert client.hgetall(FAILURES) == {"uploads/a/": "12"}
    storage.path("uploads/a").unlink()
    client.zadd(EXPIRY, {"uploads/a/": 0})
    sweep()
    assert client.hgetall(FAILURES) == {}


async def test_what_cannot_be_erased_is_counted(plan, sweep, jobs):
    plan("a", "b", stuck=True)
    plan("c")
    sweep()
    figures = (await jobs.stats()).figures
    assert (figures["objects_failing"], figures["objects_due"]) == (2, 0)
