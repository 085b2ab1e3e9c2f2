"""Workers that die, freeze or are told to stop, in any phase; the sampler is a pause, all else is real."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from deploy.local.stack.child import Child
from tests.faults.rig import LEASE_S, rig
from tests.servers import eventually, redis_binaries

STEP_S = 0.4
ELSEWHERE_S = LEASE_S + LEASE_S / 3 + 5  # the lease, a beat, and what a busy machine adds
GRACE_S = 2
SKEW_S = 600  # S3 refuses requests whose clock is wrong by 15 minutes
FAKETIME = os.environ.get("LIBFAKETIME") or next(map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


@pytest.fixture
def patient():
    """A service with leases as they are unless told otherwise, of 30 s."""
    with rig(redis_binaries()["valkey"], lease_s=30) as built:
        yield built


def silences(lines):
    """Of a stream of events, how long the worker was silent by then, as often as that is told."""
    for line in lines:
        if line.startswith("data:") and (silent_s := json.loads(line[5:]).get("silent_s")):
            yield silent_s


@pytest.mark.fault("running", "`kill -9` of its worker, lease 30 s", "who watches is told after 10 s, and not before")
def test_whoever_watches_hears_of_a_silent_worker_and_of_no_slow_one(patient):
    patient.start_workers()
    gateway = patient.start_gateway()
    job_id = patient.submit(step_s=14)
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{gateway.address}", trust_env=False, timeout=60) as client,
        client.stream("GET", f"/jobs/{job_id}/events") as events,
    ):
        signaled(patient, job_id, "fit", signal.SIGKILL)  # after fourteen seconds in one step
        begin = time.monotonic()
        first = next(silences(events.iter_lines()))
        heard_s = time.monotonic() - begin
    assert 10 <= first < 20
    assert 4 < heard_s < 20


def signaled(broken, job_id, phase, number):
    """The worker that had the job in this phase, with the signal sent."""
    broken.wait_for_phase(job_id, phase)
    worker = broken.fleet.running(job_id)
    worker.signal(number)
    return worker


def seconds_until(holds):
    begin = time.monotonic()
    assert eventually(holds, 120)
    return time.monotonic() - begin


def taken_over(broken, job_id):
    return lambda: broken.record(job_id)["attempt"] == "2"


def in_phase(phase, fault, promise):
    row = pytest.mark.fault(f"running: {phase}", fault, promise)
    return pytest.param(phase, marks=[row] if phase in {"optimize", "upload"} else [row, pytest.mark.slow])


@pytest.fixture(params=[SKEW_S, -SKEW_S])
def skewed_worker(request, broken):
    """Start a worker that believes in another time."""
    log = broken.folder / "skewed.log"
    skew = {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{request.param:+d}"}
    workers = []

    def start():
        command = [sys.executable, "-m", "tests.faults.stand_in"]
        workers.append(Child("worker", command, log=log, env=os.environ | broken.env | skew))
        assert eventually(lambda: " ready" in log.read_text(), 120)

    yield start
    for worker in workers:
        worker.stop(grace_s=30)


KILLED = ("`kill -9` of its worker", "it runs elsewhere, one result")
FROZEN = ("its worker freezes past its lease (SIGSTOP), then goes on", "one result; the frozen one's is refused, swept")


@pytest.mark.parametrize(
    "phase", [in_phase(phase, *KILLED) for phase in ("load", "fit", "optimize", "check", "decode", "upload")]
)
def test_worker_killed_in_any_phase_leaves_one_result(broken, record_property, phase):
    broken.start_workers(2)
    job_id = broken.submit(STEP_S, count=16)
    signaled(broken, job_id, phase, signal.SIGKILL)
    elsewhere_s = seconds_until(taken_over(broken, job_id))
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"], record["losses"]) == ("succeeded", "2", "1")
    assert elsewhere_s < ELSEWHERE_S
    record_property("elsewhere after", elsewhere_s)


@pytest.mark.parametrize("phase", [in_phase(phase, *FROZEN) for phase in ("optimize", "upload")])
@pytest.mark.parametrize("wakes", ["while the other runs", pytest.param("after the other", marks=pytest.mark.slow)])
def test_frozen_worker_that_wakes_too_late_publishes_and_leaves_nothing(broken, phase, wakes):
    broken.start_workers(2)
    job_id = broken.submit(STEP_S, count=16, steps=5)
    frozen = signaled(broken, job_id, phase, signal.SIGSTOP)
    seconds_until(taken_over(broken, job_id))
    if wakes == "after the other":
        broken.wait_for_end()
    frozen.signal(signal.SIGCONT)
    assert eventually(lambda: frozen.said(f"attempt 1 of job {job_id} is no longer the current one"), 60)
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"]) == ("succeeded", "2")


@pytest.mark.fault("running", "SIGTERM and 2 s of grace", "handed back within the grace, no loss counted")
def test_terminated_worker_hands_its_job_back_within_its_grace(broken, record_property):
    broken.start_workers(2)
    job_id = broken.submit(STEP_S, steps=8)
    terminated = signaled(broken, job_id, "optimize", signal.SIGTERM)
    handed_back_s = seconds_until(taken_over(broken, job_id))
    assert handed_back_s < GRACE_S
    assert eventually(lambda: not terminated.process.is_alive(), 30)
    [record] = broken.wait_for_end()
    assert (record["status"], record["attempt"], "losses" in record) == ("succeeded", "2", False)
    record_property("elsewhere after", handed_back_s)


@pytest.mark.fault("running", "it kills each worker that runs it", "quarantined after two; the others run on")
def test_poison_kills_two_workers_and_no_more(broken):
    broken.start_workers(2)
    broken.fleet.supervise()
    poison = broken.submit(dies_in="optimize")
    others = [broken.submit() for _ in range(5)]
    [failed, *ended] = broken.wait_for_end(poison, *others)
    assert (failed["status"], failed["attempt"]) == ("failed", "2")
    assert '"worker_lost"' in failed["result"]
    assert [(record["status"], record["attempt"]) for record in ended] == [("succeeded", "1")] * len(others)
    assert sum(not worker.process.is_alive() for worker in broken.fleet.workers) == 2
    with broken.client() as client:
        assert client.zrange("{rarebit}:quarantine", 0, -1) == [poison]


@pytest.mark.slow
@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed")
@pytest.mark.fault("running", "its worker's clock is wrong by ±10 minutes", "leases go by the server's clock")
def test_lease_goes_by_the_servers_clock(broken, skewed_worker):
    """A worker whose clock is wrong keeps its job from others, and finds a dead one's when it is due, not before."""
    skewed_worker()
    broken.start_workers()
    ids = [broken.submit(STEP_S, steps=20) for _ in range(2)]
    for job_id in ids:
        broken.wait_for_phase(job_id, "optimize")
    [mortal] = broken.fleet.workers
    [lost] = [job_id for job_id in ids if mortal.said(job_id)]
    mortal.signal(signal.SIGKILL)
    assert LEASE_S / 2 < seconds_until(lambda: broken.record(lost)["status"] == "queued") < ELSEWHERE_S
    broken.start_workers()
    attempts = {record["id"]: record["attempt"] for record in broken.wait_for_end()}
    assert attempts == {job_id: "2" if job_id == lost else "1" for job_id in ids}
