"""The commit before this one works beside it on one store, as while one version replaces another."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.rig import Rig
from tests.servers import Server, free_port

pytestmark = pytest.mark.slow  # and of another commit with each change

ROOT = Path(__file__).parents[2]
PARTS = ("api", "deploy/__init__.py", "deploy/local", "services", "tests", "worker")  # what gateways and workers import
BODY = {"concept": "chair", "steps": 1, "seed": 7}


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its code; a source archive and a shallow clone have none."""
    packed = subprocess.run(["git", "-C", ROOT, "archive", "HEAD^", *PARTS], capture_output=True, check=False)
    if packed.returncode:
        pytest.skip("there is no commit before this one")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def gateways(broken: Rig, previous: Path) -> list[Server]:
    """This one and the one before."""
    this = broken.start_gateway()
    command = ["env", "-C", str(previous), sys.executable, "-m", "deploy.local", "gateway"]
    other = Server([*command, "--port", str(port := free_port())], port, broken.env)
    broken.gateways.append(other)
    other.start()
    return [this, other]


@pytest.fixture
def previous_worker(broken: Rig, previous: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.faults.stand_in"]
    log = (broken.folder / "previous.log").open("w")
    with log, subprocess.Popen(command, cwd=previous, env=os.environ | broken.env, stdout=log, stderr=log) as worker:
        yield worker
        worker.kill()


def ask(gateway: Server, method: str, path: str, **options: object) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{gateway.address}{path}", trust_env=False, timeout=30, **options)


def submit(built: Rig, gateway: Server) -> str:
    built.acknowledged.append(ask(gateway, "POST", "/jobs", json=BODY).raise_for_status().json()["id"])
    return built.acknowledged[-1]


def told(gateway: Server, job_id: str) -> dict[str, object]:
    """The job's document but for what is new with each look."""
    job = ask(gateway, "GET", f"/jobs/{job_id}").raise_for_status().json()
    outputs = [{name: output[name] for name in ("index", "sha256", "rarity", "replay")} for output in job["outputs"]]
    return {name: job[name] for name in ("status", "request", "error", "metrics", "finished_at")} | {"outputs": outputs}


def known_to(one: object, other: object) -> object:
    """What is told of it without the fields that the other version has not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: known_to(value, other[name]) for name, value in one.items() if name in other}
    if isinstance(one, list) and isinstance(other, list):
        return [known_to(*pair) for pair in zip(one, other, strict=True)]
    return one


def same_of_both(gateways: list[Server], built: Rig) -> None:
    for job_id in built.acknowledged:
        this, other = (told(gateway, job_id) for gateway in gateways)
        assert known_to(this, other) == known_to(other, this)
        assert (this["status"], len(this["outputs"])) == ("succeeded", 1)


def test_two_versions_of_the_gateway_serve_one_store(gateways, broken):
    for gateway in gateways:
        submit(broken, gateway)
    canceled = [submit(broken, gateway) for gateway in gateways]
    for gateway, job_id in zip(reversed(gateways), canceled, strict=True):
        assert ask(gateway, "POST", f"/jobs/{job_id}/cancel").json()["status"] == "canceled"
        ask(gateway, "DELETE", f"/jobs/{job_id}").raise_for_status()
        broken.acknowledged.remove(job_id)
    assert [ask(gateway, "GET", f"/jobs/{job_id}").is_success for gateway in gateways for job_id in canceled] == [
        False
    ] * 4
    broken.start_workers()
    broken.wait_for_end()
    same_of_both(gateways, broken)


def test_jobs_of_two_versions_run_on_the_previous_worker(gateways, broken, previous_worker):
    for gateway in gateways:
        submit(broken, gateway)
    broken.wait_for_end()
    same_of_both(gateways, broken)
    assert previous_worker.poll() is None
