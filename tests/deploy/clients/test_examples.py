"""The examples work as they stand: a photograph goes in, four rare variations come out."""

import os
import runpy
import subprocess
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image

from servers import free_port, served

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
