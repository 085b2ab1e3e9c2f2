"""What is promised in seconds, measured with the lease of production."""

import random
import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import redis

from tests.faults.rig import rig
from tests.servers import eventually, redis_binaries

LEASE_S = 30
WORKERS = 4
KILLS, KILL_EVERY_S, ELSEWHERE_S = 24, 3.0, 45.0
OUTAGES_S, RESUMED_S = (2, 2, 2, 2, 60), 30.0

pytestmark = pytest.mark.slow


@pytest.fixture
def busy():
    """Supervised workers, and jobs of six seconds of which some always wait."""
    with rig(redis_binaries()["valkey"], lease_s=LEASE_S, appendfsync="everysec") as built:
        built.start_workers(WORKERS)
        built.fleet.supervise()
        over = threading.Event()

        def feed():
            while not over.wait(0.5):
                with suppress(redis.RedisError), built.client() as store:
                    if store.zcard("{rarebit}:queue") < WORKERS:
                        built.submit(step_s=0.5, steps=8)

        feeder = threading.Thread(target=feed)
        feeder.start()
        yield built
        over.set()
        feeder.join()


def kill_a_run(busy, rng):
    """The job whose worker was killed in its first attempt, and when; None if it ended at that moment."""
    with busy.client() as store:
        fresh = [job_id for job_id in store.zrange("{rarebit}:leases", 0, -1) if first_attempt(busy, job_id)]
    runs = [(job_id, worker) for job_id in fresh if (worker := busy.fleet.running(job_id))]
    if not runs:
        return None
    victim, worker = rng.choice(runs)
    worker.signal(signal.SIGKILL)
    killed_at = time.time()
    time.sleep(0.2)
    return (victim, killed_at) if first_attempt(busy, victim) else None


def first_attempt(busy, job_id):
    record = busy.record(job_id)
    return (record["status"], record["attempt"]) == ("running", "1")


def elsewhere_s(busy, job_id, killed_at):
    assert eventually(lambda: busy.record(job_id)["attempt"] == "2", 120)
    return int(busy.record(job_id)["started_at"]) / 1000 - killed_at


@pytest.mark.fault(
    "running",
    f"`kill -9` of {KILLS} workers in turn, lease {LEASE_S} s",
    f"each job elsewhere within {ELSEWHERE_S:g} s",
)
def test_jobs_of_killed_workers_run_elsewhere_in_time(busy, record_property):
    rng = random.Random(0)
    kills = []
    with ThreadPoolExecutor(KILLS) as watchers:
        while len(kills) < KILLS:
            time.sleep(rng.uniform(0.5, 1.5) * KILL_EVERY_S)
            if kill := kill_a_run(busy, rng):
                kills.append(watchers.submit(elsewhere_s, busy, *kill))
        seconds = sorted(kill.result() for kill in kills)
    record_property("median", statistics.median(seconds))
    record_property("slowest", seconds[-1])
    assert seconds[-1] <= ELSEWHERE_S


@pytest.mark.fault(
    "queued",
    "Redis killed 5 times, back after 2 s, the last time after 60 s",
    f"every worker works within {RESUMED_S:g} s",
)
def test_every_worker_takes_jobs_again_soon_after_redis_is_back(busy, record_property):
    for away_s in OUTAGES_S:
        time.sleep(5)
        busy.redis.kill()
        time.sleep(away_s)
        before = {worker: begun(worker) for worker in busy.fleet.alive}
        busy.redis.start()
        back = time.monotonic()
        assert eventually(lambda before=before: all(begun(w) > before.get(w, 0) for w in busy.fleet.alive), 120)
        record_property("resumed after", resumed_s := time.monotonic() - back)
        assert resumed_s <= RESUMED_S


def begun(worker):
    return len(worker.said("attempt .*: runs"))
