"""Laws of `rarebit doctor`, over real servers and real files."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BUCKET, S3_KEYS
from typer.testing import CliRunner

from api.app import create_app
from deploy.local.cli import app as commands
from deploy.local.doctor import queue
from servers import SIGNING_KEY, free_port, served
from services.jobs.leases import Leases
from services.settings import Settings

MINI = Path(__file__).parents[2] / "deploy/checkpoints/rarebit-mini"
HOOKS = "whsec_V2ViaG9va1NlY3JldC0zZlI2cFQ4eUx3WjJxTQ=="  # pragma: allowlist secret


@pytest.fixture
def doctor(redis_url, tmp_path):
    """What the doctor finds with these settings besides some that hold: states and words by what was looked at."""
    holds = {
        "RAREBIT_REDIS_URL": redis_url,
        "RAREBIT_DATA_DIR": str(tmp_path),
        "RAREBIT_SIGNING_KEY": SIGNING_KEY,
        "RAREBIT_DEVICE": "cpu",
        "RAREBIT_WEBHOOK_SECRET": HOOKS,
        "RAREBIT_PUBLIC_URL": f"http://127.0.0.1:{free_port()}",
    }

    def look(**settings: str) -> dict[str, dict]:
        given = {f"RAREBIT_{name.upper()}": value for name, value in settings.items()}
        ran = CliRunner(env=holds | given).invoke(commands, ["doctor", "--json"])
        found = json.loads(ran.stdout)
        assert ran.exit_code == int(any(one["state"] == "failure" for one in found))
        assert all(one["do"].endswith(".") for one in found if one["state"] != "ok")
        return {one["what"]: one for one in sorted(found, key=lambda one: one["state"] != "ok")}

    return look


def test_all_is_ok_where_the_service_runs(doctor, redis_url, client, tmp_path):
    Leases(client, worker="worker-1", lease_s=30).recover()
    gateway = create_app(Settings(redis_url=redis_url, data_dir=tmp_path, signing_key=SIGNING_KEY))
    with served(gateway) as url:
        found = doctor(public_url=url)
    assert {what: one["told"] for what, one in found.items() if one["state"] != "ok"} == {}
    assert found.keys() >= {"settings", "redis", "version", "durability", "workers", "store", "public URL", "prior"}
    assert not list((tmp_path / "objects/.check").glob("*/*"))


def test_lines_for_people_say_what_to_do(doctor, tmp_path):
    ran = CliRunner(env={"RAREBIT_SIGNING_KEY": None, "RAREBIT_STORAGE": "local"}).invoke(commands, ["doctor"])
    assert ran.exit_code == 1
    assert ran.stdout.startswith("failure settings   storage 'local' needs RAREBIT_SIGNING_KEY\n")
    assert "Correct these variables" in ran.stdout.splitlines()[1]


def test_a_misspelt_setting_is_named(doctor, monkeypatch):
    monkeypatch.setenv("RAREBIT_GATEWAY_PORT", "tcp://10.0.0.7:8000")  # as Kubernetes has it for a service
    found = doctor(webhook_secrt="x")["settings"]
    assert (found["state"], found["do"]) == ("warning", "Write RAREBIT_WEBHOOK_SECRET, if that is meant.")


def test_redis_that_would_lose_jobs_is_a_failure(doctor, client):
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert doctor()["durability"]["state"] == "failure"
    finally:
        client.config_set("maxmemory-policy", "noeviction")


def test_redis_that_is_away_is_a_failure_and_the_rest_is_looked_at(doctor):
    found = doctor(redis_url="redis://127.0.0.1:1/0")
    assert (found["redis"]["state"], found["store"]["state"]) == ("failure", "ok")


@pytest.mark.parametrize(("off_s", "state"), [(0, "ok"), (-5, "warning"), (300, "failure")])
def test_a_clock_that_is_off_is_told_of(client, monkeypatch, off_s, state):
    now = time.time
    monkeypatch.setattr(queue.time, "time", lambda: now() + off_s)
    assert queue._clock(client).state == state


def test_no_worker_and_quarantine_are_told_of(doctor, client):
    client.zadd("{rarebit}:quarantine", {"0" * 32: 1})
    found = doctor()
    assert (found["workers"]["state"], found["jobs"]["told"]) == ("warning", "in quarantine: 1")


def test_model_whose_jobs_wait_without_a_worker_is_told_of(doctor, client):
    Leases(client, worker="worker-1", lease_s=30).recover()
    client.zadd("{rarebit}:pools", {"large": 1})
    client.zadd("{rarebit}:pool:large:waiting:normal", {"0" * 32: 1})
    found = doctor()
    assert (found["pools"]["state"], found["workers"]["told"]) == (
        "warning",
        "heard of in the last minute: 1 of rarebit",
    )
    assert found["pools"]["told"].endswith(": large")


def test_a_folder_that_takes_nothing_is_a_failure(doctor, tmp_path):
    (tmp_path / "objects").touch()
    assert doctor()["store"]["state"] == "failure"


def test_a_signed_url_that_leads_elsewhere_is_a_failure(doctor, settings, tmp_path_factory):
    other = settings.model_copy(update={"data_dir": tmp_path_factory.mktemp("other")})
    with served(create_app(other)) as url:
        assert "404" in doctor(public_url=url)["public URL"]["told"]


def test_a_bucket_is_looked_at_with_the_rights_of_the_keys(doctor, s3_url):
    own = {"storage": "s3", "s3_endpoint": s3_url, "s3_access_key": S3_KEYS[0], "s3_bucket": BUCKET}
    found = doctor(**own, s3_secret_key=S3_KEYS[1])
    assert (found["store"]["state"], found["public URL"]["state"]) == ("ok", "ok")
    for wrong in ({"s3_secret_key": "another-of-the-tests"}, {"s3_secret_key": S3_KEYS[1], "s3_bucket": "nowhere"}):
        assert doctor(**own | wrong)["store"]["state"] == "failure"


@pytest.mark.parametrize("damage", ["cut", "missing", "nowhere", "other space", "not pulled"])
def test_weights_are_here_whole_and_of_one_space_or_told_of(doctor, tmp_path, damage):
    prior = tmp_path / "weights/prior"
    shutil.copytree(MINI / "prior", prior)
    weights = prior / "prior/diffusion_pytorch_model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "missing":
        shutil.rmtree(prior / "tokenizer")
    elif damage == "other space":
        (prior / "defaults.json").write_text('{"space": "another"}')
    name = {"nowhere": "/nowhere", "not pulled": "owner/name@main"}.get(damage, str(prior))
    found = doctor(prior=name)
    bad = {what: one["state"] for what, one in found.items() if what in {"prior", "space"} and one["state"] != "ok"}
    expected = {"other space": {"space": "failure"}, "not pulled": {"prior": "warning"}}
    assert bad == expected.get(damage, {"prior": "failure"})


def test_webhooks_that_could_fetch_a_machines_credentials_are_told_of(doctor):
    assert doctor(webhook_networks='["169.254.0.0/24"]')["webhooks"]["state"] == "warning"
    assert doctor(webhook_networks='["10.0.0.0/8"]')["webhooks"]["state"] == "ok"


def test_a_device_that_is_not_there_is_a_failure_where_it_is_asked_for(doctor):
    assert doctor(device="cuda:99")["device"]["state"] == "failure"


def test_weights_are_looked_at_without_torch():
    words = (
        "import sys; from deploy.local.doctor import command, weights; from services.settings import Settings;"
        "found = list(weights.look(Settings(signing_key='drawn for the tests')));"
        "print(len(found), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert ran.stdout == "4 False\n"
