"""Workers of two models on one Redis: each runs its own model's jobs, and a dead one's come back to it."""

import signal

import pytest

from tests.faults.fleet import Fleet
from tests.servers import eventually

PROMISE = "the job waits for its model's next worker, which other models' see to; their jobs run"


@pytest.mark.fault("running", "its worker, the last of its model, is killed", PROMISE)
def test_job_of_a_model_without_workers_waits_while_others_run(broken, tmp_path):
    broken.env["RAREBIT_MODELS"] = '["rarebit", "large"]'
    large = Fleet(broken.env | {"RAREBIT_MODEL": "large"}, tmp_path)
    [dying] = large.start()
    runs = broken.submit(0.1, steps=20, model="large")
    broken.wait_for_phase(runs, "optimize")
    dying.signal(signal.SIGKILL)
    other = broken.submit()
    broken.start_workers()
    assert broken.wait_for_end(other)[0]["status"] == "succeeded"
    assert eventually(lambda: broken.record(runs)["status"] == "queued", 60)
    large.start()
    [record] = broken.wait_for_end(runs)
    assert (record["status"], record["attempt"]) == ("succeeded", "2")
    large.stop()
