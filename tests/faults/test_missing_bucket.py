"""Without a bucket that takes pictures no job is made, and no worker starts; a store that is away stops neither."""

import os
import subprocess
import time

import httpx
import pytest
from conftest import BUCKET, S3_KEYS
from minio import Minio

from api.app import create_app
from deploy.local.stack.child import RAREBIT
from servers import free_port
from services.objects.storage import S3Storage
from services.settings import Settings
from worker.app import check_store

MAKING = [
    ("POST", "/jobs", {"concept": "lamp"}),
    ("POST", "/batches", {"jobs": [{"concept": "lamp"}]}),
    ("PUT", "/density-models/lamp", None),
    ("POST", f"/quarantine/{'0' * 32}/replay", None),
]


@pytest.fixture
def environment(redis_url, s3_url):
    return {
        "RAREBIT_REDIS_URL": redis_url,
        "RAREBIT_STORAGE": "s3",
        "RAREBIT_S3_ENDPOINT": s3_url,
        "RAREBIT_S3_ACCESS_KEY": S3_KEYS[0],
        "RAREBIT_S3_SECRET_KEY": S3_KEYS[1],
        "RAREBIT_S3_BUCKET": "not-made-yet",
    }


def settings_of(environment, **others):
    fields = {name.removeprefix("RAREBIT_").lower(): value for name, value in (environment | others).items()}
    return Settings(**fields)


async def answers(settings, *requests):
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        for method, path, body in requests:
            yield await client.request(method, path, json=body)


async def test_no_job_is_taken_until_there_is_the_bucket(environment, s3_url, monkeypatch):
    monkeypatch.setattr("api.store_check._REMEMBERED_S", 0.2)
    bucket = Minio(s3_url.removeprefix("http://"), *S3_KEYS, secure=False, region="us-east-1")
    async for answer in answers(settings_of(environment), *MAKING):
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/storage")
        assert (answer.headers["retry-after"], "not-made-yet" in answer.text) == ("2", False)
    asked = answers(settings_of(environment), *[MAKING[0]] * 2)
    assert (await anext(asked)).status_code == 503
    bucket.make_bucket("not-made-yet")
    time.sleep(0.3)
    assert (await anext(asked)).status_code == 202
    await asked.aclose()
    bucket.remove_bucket("not-made-yet")


async def test_store_is_not_asked_for_every_job(environment, monkeypatch):
    asked, check = [], S3Storage.check
    monkeypatch.setattr(S3Storage, "check", lambda storage: asked.append(storage) or check(storage))
    assert [answer.status_code async for answer in answers(settings_of(environment), *[MAKING[0]] * 9)] == [503] * 9
    assert len(asked) == 1


async def test_job_is_taken_while_the_store_is_away(environment):
    away = settings_of(environment, RAREBIT_S3_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert [answer.status_code async for answer in answers(away, MAKING[0])] == [202]


# pragma: allowlist nextline secret
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({}, "there is no bucket 'not-made-yet'"),
        (
            {"RAREBIT_S3_BUCKET": BUCKET, "RAREBIT_S3_SECRET_KEY": "not-the-secret"},  # pragma: allowlist secret
            f"the store refuses the bucket '{BUCKET}' to these keys",
        ),
    ],
)
def test_worker_without_its_bucket_does_not_start_and_says_why(environment, wrong, sentence):
    command, env = [*RAREBIT, "worker"], os.environ | environment | wrong
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, f"the worker cannot start: {sentence}")


def test_worker_starts_while_the_store_is_away():
    options = {"bucket": BUCKET, "region": "us-east-1", "patience_s": 0.1}
    check_store(S3Storage(f"http://127.0.0.1:{free_port()}", access_key="a", secret_key="b", **options))
