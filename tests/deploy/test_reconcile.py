"""Laws of `rarebit reconcile`: what Redis and the store do not both have is told, and changed where nothing runs."""

import json

import pytest
from typer.testing import CliRunner

from deploy.local.cli import app
from servers import SIGNING_KEY
from services.jobs.leases import Leases
from services.jobs.record import Metrics
from services.jobs.store import EVERYBODY, Operations
from services.objects.keys import upload_key
from services.objects.storage import open_storage
from services.settings import Settings
from tests.accepted import accepted
from tests.published import store_output


@pytest.fixture
def storage(redis_url, tmp_path):
    return open_storage(Settings(redis_url=redis_url, data_dir=tmp_path, signing_key=SIGNING_KEY))


@pytest.fixture
def reconcile(redis_url, tmp_path):
    env = {"RAREBIT_REDIS_URL": redis_url, "RAREBIT_DATA_DIR": str(tmp_path), "RAREBIT_SIGNING_KEY": SIGNING_KEY}
    return lambda *options: CliRunner(env=env).invoke(app, ["reconcile", *options])


@pytest.fixture
async def published(jobs, leases, storage):
    """A job that has ended, with two pictures."""
    submitted = await jobs.submit(accepted(concept="lamp", count=2), keep_s=60, max_queued=9)
    claim = leases.claim()
    leases.succeed(claim, [store_output(storage, claim, index) for index in range(2)], [], Metrics())
    return submitted.id


def upload(client, name: str) -> None:
    """A record without a picture."""
    Operations(client)("add_upload", EVERYBODY, name, "{}", 60_000)


async def test_what_both_have_is_left_alone(published, leases, client, storage, reconcile):
    upload(client, "a")
    leases.use_density("densities/1f")
    densities = ["densities/1f/density.json", "densities/models/f", f"jobs/{published}/densities/2e/density.json"]
    for key in [*densities, upload_key("a")]:
        storage.put(key, b"", "application/octet-stream")
    assert json.loads(reconcile("--json").stdout) == {"running": [], "unnamed": [], "missing": []}


async def test_what_one_alone_has_is_told_and_nothing_is_changed(published, client, storage, reconcile):
    upload(client, "lost")
    stray = [f"jobs/{published}/9/0.png", "jobs/nobody/1/0.png", upload_key("nobody"), "densities/1f/density.json"]
    for key in stray:
        storage.put(key, b"", "image/png")
    storage.path(f"jobs/{published}/1/1.png").unlink()
    found = {
        "running": [],
        "unnamed": [f"jobs/{published}/9/", "jobs/nobody/", "uploads/nobody/", "densities/1f/"],
        "missing": [f"jobs/{published}/", "uploads/lost/"],
    }
    told = json.loads(reconcile("--json").stdout)
    assert {what: sorted(names) for what, names in told.items()} == {
        what: sorted(names) for what, names in found.items()
    }
    assert all(storage.exists(key) for key in stray)
    assert reconcile().stdout.splitlines()[-1] == "0 running, 4 unnamed, 2 missing"


def test_nothing_is_changed_while_a_worker_is_heard_of(storage, client, reconcile):
    storage.put("jobs/nobody/1/0.png", b"", "image/png")
    Leases(client, worker="worker-7", lease_s=30).recover()
    refused = reconcile("--apply")
    assert (refused.exit_code, storage.exists("jobs/nobody/1/0.png")) == (1, True)
    assert "the worker worker-7 was heard of 0 s ago: end all workers and gateways first" in refused.stderr
