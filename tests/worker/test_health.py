"""What probes are told of a worker is how it is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.accepted import accepted
from worker.attempt import Attempt
from worker.health import STALE_S, Health, what_is_wrong
from worker.heartbeat import STALL_S, Heartbeat

ROOT = Path(__file__).parents[2]
BEGUN = "the worker has not begun: it loads its models"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "health"


@pytest.fixture
def health(file):
    health = Health(file, interval_s=5)
    health.consumes()
    return health


def words_of(file):
    return [word for word in ("live", "ready") if not what_is_wrong(word, file)]


def test_worker_that_loads_is_neither_live_nor_ready(file):
    assert (
        what_is_wrong("live", file) == what_is_wrong("ready", file) == "the worker has not begun: it loads its models"
    )


def test_worker_is_ready_from_when_it_consumes_until_it_is_to_stop(file, leases):
    health = Health(file, interval_s=5)
    heartbeat = Heartbeat(leases, interval_s=5, health=health)
    heartbeat.beat()
    assert words_of(file) == ["live"]
    health.consumes()
    heartbeat.beat()
    assert words_of(file) == ["live", "ready"]
    health.stops()
    heartbeat.beat()
    assert words_of(file) == ["live"]


async def test_worker_with_a_run_that_has_hung_is_not_live(file, health, leases, jobs):
    await jobs.submit(accepted(concept="lamp"), keep_s=60, max_queued=9)
    attempt = Attempt(leases, leases.claim(), limit_s=60, hand_back=lambda: False, safety=None)
    heartbeat = Heartbeat(leases, interval_s=5, health=health)
    with heartbeat.keeping(attempt):
        heartbeat.beat()
        assert words_of(file) == ["live", "ready"]
        attempt.last_step -= STALL_S
        heartbeat.beat()
        assert what_is_wrong("live", file) == "the worker is not live: it says that a run has hung"
    heartbeat.beat()
    assert words_of(file) == ["live", "ready"]


@pytest.mark.parametrize(("interval_s", "stale_s"), [(5, STALE_S), (100, 300)])
def test_worker_whose_heart_no_longer_beats_is_neither(file, interval_s, stale_s):
    """A minute, or three beats of long leases."""
    Health(file, interval_s).tell(stalled=False, hears=True)
    for ago_s, live in ((stale_s - 2, True), (stale_s + 1, False)):
        then = time.time() - ago_s
        os.utime(file, (then, then))
        assert (what_is_wrong("live", file) == "") == live
    assert what_is_wrong("ready", file) == f"the worker was last heard of {stale_s + 1:.0f} s ago"


def test_what_the_worker_before_has_left_behind_says_nothing_of_this_one(file, health):
    """A container that is started again keeps its volumes, and its process its number."""
    health.tell(stalled=False, hears=True)
    pid, began, *rest = file.read_text().split("\n")
    file.write_text("\n".join([pid, str(int(began) - 1), *rest]))
    assert what_is_wrong("ready", file) == what_is_wrong("live", file) == BEGUN


def test_without_a_file_nobody_is_told():
    Health(None, interval_s=5).tell(stalled=False, hears=True)


def probe(word, file):
    """The command that kubelet runs, without any package that is installed: what it imports costs time, each time."""
    command = [sys.executable, "-S", "-m", "worker.health", word, str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_command_says_why_not(file, health):
    ended = probe("ready", file)
    assert (ended.returncode, ended.stderr) == (1, f"{BEGUN}\n")
    health.tell(stalled=False, hears=True)
    assert [probe(word, file).returncode for word in ("live", "ready")] == [0, 0]
