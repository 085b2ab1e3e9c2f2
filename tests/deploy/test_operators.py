"""Laws of what an operator sees of a service in Redis: everybody's jobs, workers and density models."""

import json
import os
import pty
import select
import signal
import subprocess
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from deploy.local.cli import app
from deploy.local.operators.reading import Overview
from deploy.local.operators.top import Rates
from deploy.local.stack.child import RAREBIT
from services.density_models import DensityFacts
from services.jobs.leases import Leases
from services.jobs.record import JobError, Metrics, Progress
from services.tenants import Limits, Tenants
from tests.accepted import accepted
from tests.services.jobs.moves import output

LAMP = DensityFacts(
    concept="lamp",
    prompt="a photo of {}",
    samples=500,
    components=9,
    variance_kept=0.9,
    fitted_at=None,
    key="densities/1f",
    family="f-500",
)


def run(command: str, redis_url: str, *more: str) -> str:
    ran = CliRunner(env={"RAREBIT_REDIS_URL": redis_url}).invoke(app, [command, *more])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


@pytest.fixture
async def busy(jobs, leases, client, redis_url, lose_next):
    """A service with a job in quarantine, one that fits a density, one that waits, and one that is held."""
    Tenants(client).create_key("acme")
    Tenants(client).limit("acme", Limits(running=1))

    async def submit(concept: str, tenant: str) -> str:
        return (await jobs.of(tenant).submit(accepted(concept=concept), keep_s=60, max_queued=9)).id

    lost = await submit("chair", "")
    lose_next()
    runs = await submit("lamp [bold]", "acme")
    leases.progress(claim := leases.claim(), Progress(phase="fit", step=40, steps=5000))
    leases.use_density(LAMP.key)
    leases.name_density(claim, LAMP, listed=True)
    held, waits = await submit("cup", "acme"), await submit("lamp", "")
    return SimpleNamespace(lost=lost, runs=runs, held=held, waits=waits, claim=claim)


def test_jobs_of_all_tenants_are_listed_with_what_they_are_at(busy, redis_url):
    found = {job["id"]: job for job in json.loads(run("jobs", redis_url, "--json"))}
    assert {job_id: job["status"] for job_id, job in found.items()} == {
        busy.runs: "running",
        busy.waits: "queued",
        busy.held: "held",
        busy.lost: "quarantined",
    }
    told = found[busy.runs]
    assert (told["tenant"], told["phase"], told["step"], told["worker"]) == ("acme", "fit", "40/5000", "worker-1")
    assert 0 <= told["age_s"] < 60
    table = run("jobs", redis_url)
    assert all(word in table for word in ("running", busy.runs, "acme", "lamp [bold]", "40/5000", busy.lost))


def test_a_record_that_cannot_be_read_hides_no_other(busy, client, redis_url):
    client.hset(f"{{rarebit}}:job:{busy.waits}", "created_at", "soon")
    found = {job["id"]: job["status"] for job in json.loads(run("jobs", redis_url, "--json"))}
    assert (found[busy.waits], found[busy.held]) == ("unreadable", "held")


def test_workers_are_listed_with_their_last_sign_of_life_and_what_they_run(busy, client, redis_url):
    Leases(client, worker="worker-2", lease_s=30).recover()
    found = {one["worker"]: one for one in json.loads(run("workers", redis_url, "--json"))}
    assert [job["id"] for job in found["worker-1"]["jobs"]] == [busy.runs]
    assert found["worker-2"]["jobs"] == []
    assert 0 <= found["worker-2"]["seen_s"] < 60
    assert busy.runs in run("workers", redis_url)


async def test_pools_are_listed_with_what_waits_runs_and_was_made(busy, jobs, client, redis_url):
    large = Leases(client, worker="worker-3", lease_s=30, model="large")
    for _ in range(2):
        await jobs.submit(accepted(concept="cup", model="large"), keep_s=60, max_queued=9)
    large.recover({"worker:busy": 30, "worker:idle": 10, "densities:memory": 1, "energy:mj": 7_200_000}, 0.5)
    large.succeed(large.claim(), [output()], [], Metrics())
    own, other = json.loads(run("pools", redis_url, "--json"))
    assert (own["model"], own["running"], sum(own["waiting"].values()), own["busy"]) == ("rarebit", 1, 2, None)
    assert (other["model"], other["workers"], other["running"], sum(other["waiting"].values())) == ("large", 1, 0, 1)
    assert (other["busy"], other["at_hand"], other["valid"], other["device_memory"]) == (0.75, 1, 1, 0.5)
    assert other["watt_hours_per_picture"] == 2
    assert all(word in run("pools", redis_url) for word in ("rarebit", "large", "75%", "50%"))
    waits = next(job for job in json.loads(run("jobs", redis_url, "--json")) if job["model"] == "large")
    assert waits["status"] == "queued"
    seen = {one["worker"]: one["model"] for one in json.loads(run("workers", redis_url, "--json"))}
    assert (seen["worker-1"], seen["worker-3"]) == ("rarebit", "large")


def test_a_job_that_waits_again_is_no_workers(busy, leases, redis_url):
    leases.hand_back(busy.claim)
    assert all(one["jobs"] == [] for one in json.loads(run("workers", redis_url, "--json")))
    waits = next(job for job in json.loads(run("jobs", redis_url, "--json")) if job["id"] == busy.runs)
    assert (waits["status"], waits["worker"]) == ("queued", "")


def test_density_models_are_listed_as_ready_or_being_fitted(busy, redis_url):
    fits, ready = json.loads(run("density-models", redis_url, "--json"))
    assert (fits["state"], fits["concept"], fits["step"]) == ("fits", "lamp [bold]", "40/5000")
    assert (ready["state"], ready["concept"], ready["samples"], ready["key"]) == ("ready", "lamp", 500, LAMP.key)


async def test_many_are_read_in_parts_of_a_hundred(jobs, client):
    made = [(await jobs.submit(accepted(concept="cup"), keep_s=60, max_queued=999)).id for _ in range(230)]
    client.zadd("{rarebit}:workers", {f"w{n}": n for n in range(230)})
    client.zadd("{rarebit}:densities", {f"densities/{n}": n for n in range(230)})
    overview = Overview(client)
    assert [job.id for job in overview.jobs("queued")] == made
    assert len(overview.workers()) == len(overview.densities()) == 230
    for call in ("jobs_at queued rarebit 0", "workers rarebit 0", "densities 0"):
        operation, *arguments = call.split()
        assert len(overview._operations(operation, "", *arguments)) in {100, 200}


def test_redis_that_is_away_is_said_in_one_sentence():
    env = os.environ | {"RAREBIT_REDIS_URL": "redis://127.0.0.1:1/0"}
    ran = subprocess.run([*RAREBIT, "jobs"], env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1)


def test_all_of_it_is_one_look_of_top(busy, leases, redis_url):
    leases.progress(busy.claim, Progress(phase="optimize", step=9, steps=50, rarity_bits=7.25))
    seen = json.loads(run("top", redis_url, "--json"))
    assert (seen["running"], seen["quarantined"]) == (1, 1)
    assert (sum(seen["waiting"].values()), seen["ended"]["failed"]) == (2, 1)
    [job] = seen["workers"][-1]["jobs"]
    assert (job["id"], job["phase"], job["bits"]) == (busy.runs, "optimize", 7.25)
    assert all(word in run("top", redis_url) for word in ("normal 2", busy.runs, "9/50", "7.2"))


def test_top_shows_on_a_terminal_what_changes_until_ctrl_c(busy, leases, redis_url):
    shown, terminal = pty.openpty()
    command = [*RAREBIT, "top", "--interval", "0.5"]
    env = os.environ | {"RAREBIT_REDIS_URL": redis_url, "COLUMNS": "160", "LINES": "40", "TERM": "xterm"}
    with subprocess.Popen(command, env=env, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        assert read_until(shown, b"normal 2")
        leases.fail(busy.claim, JobError(code="internal", title="", detail=""), Metrics())
        assert read_until(shown, b"failed 1")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    os.close(shown)


def read_until(terminal: int, words: bytes) -> bool:
    """Whether the words come before the program is silent for long."""
    seen = b""
    while words not in seen and select.select([terminal], [], [], 20)[0]:
        seen += os.read(terminal, 65536)
    return words in seen


def test_rates_are_of_the_last_five_minutes():
    rates = Rates()
    for minute in range(9):
        rates.add(60.0 * minute, {"succeeded": 10 * minute**2, "failed": minute, "canceled": 0})
    assert rates.told() == "last 5 min: succeeded 550, failed 5, canceled 0; 110.0 a minute"
