"""What `rarebit serve` promises about its processes and its jobs."""

import json
import signal
import sys

import pytest

from servers import eventually


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


@pytest.mark.slow
@pytest.mark.fault(
    "running (real model)",
    "`kill -9` of the worker of `rarebit serve`",
    "a new one goes on, and tells the end",
)
def test_job_of_a_killed_worker_goes_on_from_its_savepoint_in_a_new_one(served, endless):
    job_id = served.submit(endless | {"steps": 40})
    with served.client.stream("GET", f"/jobs/{job_id}/events") as events:
        served.wait_for(job_id, lambda job: is_optimizing(job) and job["progress"]["step"] > 26)
        served.process("worker").kill()
        told = [json.loads(line[5:]) for line in events.iter_lines() if line.startswith("data:")]
    statuses = [(place, event["status"]) for place, event in enumerate(told) if "status" in event]
    assert [status for _, status in statuses] == ["running", "queued", "running", "succeeded"]
    again = [event for event in told[statuses[2][0] :] if event.get("phase") == "optimize"]
    assert again[0]["step"] > 25
    assert served.end(signal.SIGTERM) == 0
    ended, done = served.told.splitlines()
    assert ended.startswith("the worker ended with exit code -9: ")
    assert done.startswith(f"job {job_id} succeeded after ")


@pytest.mark.slow
@pytest.mark.fault(
    "running (real model)",
    "`kill -9` of gateway and queue of `rarebit serve`",
    "both are back, the attempt goes on",
)
def test_killed_gateway_and_queue_are_back_while_the_job_goes_on(served, endless):
    job_id = served.submit(endless | {"steps": 80})
    served.wait_for(job_id, is_optimizing)
    for name in ("gateway", "queue"):
        served.process(name).kill()
        assert eventually(served.is_ready, limit_s=30)
    done = served.wait_for(job_id, is_final)
    assert (done["status"], done["metrics"]["attempts"]) == ("succeeded", 1)
