"""No secret shows in a log, an answer, a replay block, an error or a list of processes, whatever goes wrong."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from minio import Minio

from deploy.local.stack.child import RAREBIT, Child
from servers import Server, eventually, free_port, redis_binaries, redis_server, s3_server

# pragma: allowlist nextline secret
PASSWORD, SIGNING, SECRET = "RedisPw-7uQ2vX9k", "SigningKey-4hT8mZ1cRw", "S3Secret-9bN5yK3jLd"
HOOKS = "whsec_V2ViaG9va1NlY3JldC0zZlI2cFQ4eUx3WjJxTQ=="  # pragma: allowlist secret
ACCESS, BUCKET = "rarebit-gateway", "rarebit-secrets"
JOB = {"concept": "handbag", "steps": 2, "trials": 1, "decoder_steps": 2, "seed": 7}
TOLD = JOB | {"webhook": {"url": "http://127.0.0.1:9/"}}  # nobody listens


class Service:
    """Gateway and worker over a Redis with a password and an S3 server, and all that they have ever said."""

    def __init__(self, folder: Path, redis_port: int, redis: Server, s3: Server) -> None:
        self.redis, self.s3 = redis, s3
        self.said: list[str] = []
        self._folder, self._port = folder, free_port()
        self.env = os.environ | {
            "RAREBIT_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{redis_port}/0",
            "RAREBIT_SIGNING_KEY": SIGNING,
            "RAREBIT_WEBHOOK_SECRET": HOOKS,
            "RAREBIT_WEBHOOK_NETWORKS": '["127.0.0.1/32"]',
            "RAREBIT_STORAGE": "s3",
            "RAREBIT_S3_ENDPOINT": f"http://127.0.0.1:{s3.address}",
            "RAREBIT_S3_ACCESS_KEY": ACCESS,
            "RAREBIT_S3_SECRET_KEY": SECRET,
            "RAREBIT_S3_BUCKET": BUCKET,
            "RAREBIT_DENSITY_SAMPLES": "500",
            "RAREBIT_LEASE_S": "5",
        }
        loud = f"from api.main import main; main('127.0.0.1', {self._port}, log_level='debug')"
        self._gateway = self._start("gateway", [sys.executable, "-c", loud])
        self._worker = self._start("worker", [*RAREBIT, "worker"])
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False, timeout=60)

    def _start(self, name: str, command: list[str]) -> Child:
        return Child(name, command, log=self._folder / f"{name}.log", env=self.env)

    def ask(self, method: str, path: str, **what: object) -> httpx.Response:
        """An answer, which is remembered with its headers."""
        answer = self._client.request(method, path, **what)
        self.said.append(f"{answer.headers} {answer.text}")
        return answer

    def answers(self) -> bool:
        with suppress(httpx.TransportError):
            return self.ask("GET", "/health/ready").status_code == 200
        return False

    def attempts(self, job_id: str) -> list:
        """The calls that its receiver has had, or would have had."""
        return self.ask("GET", f"/jobs/{job_id}/deliveries").json()["deliveries"][0]["attempts"]

    def finished(self, job_id: str) -> dict:
        done = ("succeeded", "failed")
        assert eventually(lambda: self.ask("GET", f"/jobs/{job_id}").json().get("status") in done, limit_s=180)
        return self.ask("GET", f"/jobs/{job_id}").json()

    def refuse_to_start(self, name: str, **settings: str) -> str:
        """What the process says that cannot start with these settings."""
        command = [*RAREBIT, name]
        ended = subprocess.run(command, env=self.env | settings, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 1
        self.said.append(ended.stdout + ended.stderr)
        return ended.stderr

    def see_processes(self) -> None:
        """Remember what a list of processes shows of ours and of their children."""
        ours = [psutil.Process(child.pid) for child in (self._gateway, self._worker)]
        for process in ours + [child for one in ours for child in one.children(recursive=True)]:
            self.said.append(" ".join(process.cmdline()))

    def stop(self) -> str:
        """Everything that was said, once both have ended."""
        self._client.close()
        for child in (self._worker, self._gateway):
            child.stop(grace_s=30)
        logs = [(self._folder / f"{name}.log").read_text(errors="replace") for name in ("gateway", "worker")]
        assert all(logs)
        return "\n".join(self.said + logs)


@pytest.fixture
def service(short_folder: Path, tmp_path: Path) -> Iterator[Service]:
    port = free_port()
    options = {"port": str(port), "requirepass": PASSWORD, "maxmemory-policy": "noeviction", "appendfsync": "always"}
    redis = redis_server(redis_binaries()["valkey"], short_folder, **options)
    s3 = s3_server(tmp_path, ACCESS, SECRET)
    redis.start()
    s3.start()
    Minio(f"127.0.0.1:{s3.address}", ACCESS, SECRET, secure=False, region="us-east-1").make_bucket(BUCKET)
    service = Service(tmp_path, port, redis, s3)
    yield service
    service.stop()
    s3.stop()
    redis.stop()


def test_no_secret_shows_whatever_goes_wrong(service):
    assert eventually(service.answers, limit_s=120)
    done = service.finished(service.ask("POST", "/jobs", json=TOLD).json()["id"])
    assert (done["status"], bool(done["outputs"][0]["replay"])) == ("succeeded", True)
    service.see_processes()
    assert eventually(lambda: service.attempts(done["id"]) != [])

    service.s3.kill()
    failed = service.finished(service.ask("POST", "/jobs", json=JOB).json()["id"])
    assert failed["error"]["code"] == "storage"
    assert "127.0.0.1" not in failed["error"]["detail"]
    assert service.ask("GET", "/health/ready").status_code == 503

    service.redis.kill()
    assert service.ask("POST", "/jobs", json=JOB).status_code == 503
    time.sleep(3)  # the worker and its heartbeat notice too
    service.redis.start()
    service.s3.start()
    assert eventually(service.answers, limit_s=60)

    for name, value in [
        ("REDIS_URL", f"redis://:{PASSWORD}/x@queue:6379"),
        ("REDIS_URL", f"http://:{PASSWORD}@queue"),
        ("S3_SECRET_KEY", f"{SECRET}-password"),
        ("SIGNING_KEY", SIGNING[:12]),
        ("WEBHOOK_SECRET", HOOKS[6:]),
        ("PRELOAD", SECRET),
    ]:
        said = service.refuse_to_start("gateway", **{f"RAREBIT_{name}": value})
        assert name in said.upper()
    stranger = service.env["RAREBIT_REDIS_URL"].replace(PASSWORD, f"not-{PASSWORD}")
    assert "Redis does not answer" in service.refuse_to_start("worker", RAREBIT_REDIS_URL=stranger)

    everything = service.stop()
    for secret in (PASSWORD, SIGNING[:12], SECRET, HOOKS[6:-8]):
        where = everything.find(secret)
        assert where < 0, everything[max(0, where - 300) : where + 60]
