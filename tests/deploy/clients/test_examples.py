"""The examples work as they stand: a photograph goes in, four rare variations come out; a plug-in is called."""

import json
import os
import runpy
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image
from standardwebhooks import Webhook

from rarebit_client import Client
from servers import eventually, free_port, served
from tests.receiver import SECRET

CLIENTS = Path("deploy/clients")


def variations_of_a_cup(url: str) -> list[dict]:
    photo = BytesIO()
    Image.new("RGB", (64, 64), "pink").save(photo, "JPEG")
    headers = {"content-type": "image/jpeg"}
    answer = httpx.post(f"{url}/products/tea cup/variations", content=photo.getvalue(), headers=headers, timeout=60)
    return answer.raise_for_status().json()


def check(variations: list[dict]) -> None:
    assert [(one["bits"], one["valid"]) for one in variations] == [(10.0, 0.9)] * 4
    pictures = [httpx.get(one["url"]).raise_for_status().content for one in variations]
    assert {Image.open(BytesIO(picture)).size for picture in pictures} == {(64, 64)}


def test_back_end_in_python(service, monkeypatch):
    monkeypatch.setenv("RAREBIT_URL", service.url)
    with served(runpy.run_path(str(CLIENTS / "python/examples/variations.py"))["app"]) as url:
        check(variations_of_a_cup(url))


def test_back_end_in_typescript(service, node):
    env = os.environ | {"RAREBIT_URL": service.url, "PORT": str(port := free_port())}
    command = [node, "--conditions=source", str(CLIENTS / "typescript/examples/variations.ts")]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"listening\n"
            check(variations_of_a_cup(f"http://127.0.0.1:{port}"))
        finally:
            process.terminate()


@pytest.fixture
def plug_in(service, monkeypatch):
    """The URL of its back end."""
    monkeypatch.setenv("RAREBIT_URL", service.url)
    monkeypatch.setenv("RAREBIT_WEBHOOK_SECRET", SECRET)
    with served(runpy.run_path(str(CLIENTS / "python/examples/webhooks.py"))["app"]) as url:
        monkeypatch.setenv("OWN_URL", url)
        yield url


def signed(payload):
    """As the service calls."""
    body, at = json.dumps(payload), datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg_1", at, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    return {"content": body, "headers": headers}


def test_plug_in_is_called_when_its_pictures_are_there(service, plug_in):
    def board():
        return httpx.get(f"{plug_in}/boards/kitchen").raise_for_status().json()

    asked = httpx.post(f"{plug_in}/boards/kitchen/ideas", json={"concept": "tea cup"}).raise_for_status().json()
    assert eventually(lambda: len(board()["pictures"]) == 4, 30)
    with Client(service.url) as client:
        images = client.images(client.get(asked["job"]))
        (delivery,) = client.deliveries(asked["job"])
    shown = board()
    assert (shown["pictures"], shown["failures"]) == ([{"ref": one.ref, "bits": 10.0} for one in images], [])
    pictures = [httpx.get(f"{plug_in}/boards/kitchen/{one['ref']}").raise_for_status() for one in shown["pictures"]]
    assert [one.content for one in pictures] == [image.content for image in images]
    assert {one.headers["content-type"] for one in pictures} == {"image/png"}
    assert delivery.event == "job.succeeded"

    again = httpx.post(f"{plug_in}/hooks/rarebit", **signed({"data": {"id": asked["job"]}}))
    assert (again.status_code, board()) == (204, shown)


def test_plug_in_tells_of_a_job_without_pictures(service, plug_in):
    with Client(service.url) as client:
        job = client.submit("tea cup", start_within=1e-6, metadata={"board": "attic"})
        client.wait(job.id)
    assert httpx.post(f"{plug_in}/hooks/rarebit", **signed({"data": {"id": job.id}})).status_code == 204
    (failure,) = httpx.get(f"{plug_in}/boards/attic").json()["failures"]
    assert f"job {job.id}: start_deadline" in failure


def test_plug_in_believes_nobody_else(plug_in):
    true = signed({"data": {"id": "0" * 32}})
    for call in (true | {"content": "{}"}, true | {"headers": {}}, true | {"content": b"\xff"}):
        assert httpx.post(f"{plug_in}/hooks/rarebit", **call).status_code == 401
