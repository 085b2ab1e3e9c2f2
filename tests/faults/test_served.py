"""What `rarebit serve` promises about its processes and its jobs."""

import signal
import sys

import pytest


def is_optimizing(job):
    return job["status"] == "running" and (job["progress"] or {}).get("phase") == "optimize"


def is_final(job):
    return job["status"] in {"succeeded", "failed", "canceled"}


@pytest.mark.fault(
    "running, queued (real model)", "`rarebit serve` is stopped and started", "handed back, then both run"
)
def test_jobs_survive_a_restart_and_no_process_survives_a_stop(served, quick, endless):
    """The running job is handed back within its grace, runs again after the restart, and the queued one after it."""
    interrupted = served.submit(endless | {"count": 16, "trials": 16, "decoder_steps": 200})
    waiting = served.submit(quick)
    served.wait_for(interrupted, is_optimizing)
    assert served.end(signal.SIGTERM) == 0
    served.start()
    again = served.wait_for(interrupted, is_optimizing)
    assert again["metrics"]["attempts"] == 2
    served.client.post(f"/jobs/{interrupted}/cancel").raise_for_status()
    assert served.wait_for(interrupted, is_final)["status"] == "canceled"
    done = served.wait_for(waiting, is_final)
    assert (done["status"], done["metrics"]["attempts"]) == ("succeeded", 1)
    picture = served.client.get(done["outputs"][0]["url"]).raise_for_status()
    assert len(picture.content) == done["outputs"][0]["bytes"]


@pytest.mark.fault(
    "running (real model)", "`kill -9` of `rarebit serve`", "no process is left; the job runs after a start"
)
@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is a signal on Linux only")
def test_no_process_survives_a_killed_parent_and_its_job_is_found_again(served, quick, endless):
    killed = served.submit(endless | {"steps": 80})
    served.wait_for(killed, is_optimizing)
    served.end(signal.SIGKILL)
    served.start()
    done = served.wait_for(killed, is_final)
    assert (done["status"], done["metrics"]["attempts"]) == ("succeeded", 2)


def test_dead_worker_ends_the_service_with_a_sentence(served):
    served.worker().kill()
    code, said = served.last_words()
    assert code == 1
    assert said.startswith("rarebit: the worker ended with exit code -9")
    assert len(said.splitlines()) == 1
