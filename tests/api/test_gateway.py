"""What holds for every path: problems for errors, the contract, health, and Redis coming and going."""

import asyncio
import io
import json
import re
import socket
import time
from contextlib import suppress
from functools import partial
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from api.app import create_app
from servers import Server, served, url_of
from services.found import FACTS, FoundFacts
from services.pictures.files import carrying

SEEN = {"output": "0" * 32 + "/0", "feedback": "liked"}


def png():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png")
    return file.getvalue()


def found_file():
    names = {"model": "none", "checker": "none", "concept": "handbag", "prompt": "a {}", "space": []}
    facts = FoundFacts(**names, seed=0, strength=0.5, bits=1.0, validity=None).model_dump_json()
    learnt = save({"image_embeds": np.zeros(3, "f4")}, {FACTS: facts})
    return {"content": carrying(png(), learnt), "headers": {"content-type": "image/png"}}


BODIES = {
    ("POST", "/jobs"): {"json": {"concept": "handbag"}},
    ("POST", "/batches"): {"json": {"jobs": [{"concept": "handbag"}]}},
    ("POST", "/images"): {"content": png(), "headers": {"content-type": "image/png"}},
    ("POST", "/found"): {"json": {"output": "0" * 32 + "/0", "name": "the arch"}},
    ("POST", "/found-files"): {"params": {"name": "the arch"}, **found_file()},
    ("POST", "/exposures/{key}/views"): {"json": {"views": [SEEN]}},
    ("POST", "/v1/images/generations"): {"json": {"prompt": "handbag"}},
    ("POST", "/v1/images/variations"): {"files": {"image": png()}},
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/jobs/", 404), ("PUT", "/jobs", 405), ("POST", "/health/live", 405)],
)
async def test_what_does_not_exist_is_answered_with_a_problem(gateway, method, path, status):
    answer = await gateway.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/jobs", "GET, HEAD, POST"),
        ("/jobs/x", "DELETE, GET, HEAD"),
        ("/images", "POST"),
        ("/exposures/a/b", "DELETE, GET, HEAD"),
        ("/static/page.css", "GET, HEAD"),
    ],
)
async def test_refused_method_is_told_all_methods_of_the_path(gateway, path, methods):
    assert (await gateway.options(path)).headers["allow"] == methods


@pytest.mark.parametrize("endless", [b"GET /", b"GET / HTTP/1.1\r\n", b"POST /jobs/x/cancel HTTP/1.1\r\n\r\n"])
async def test_endless_head_is_refused_before_it_fills_the_memory(app, endless):
    """A target, a header, and many requests without an end."""
    with served(app) as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as client:
        client.sendall(endless)
        with pytest.raises(ConnectionError):
            client.sendall(b"x" * 2**26)


async def test_long_body_behind_a_long_head_is_taken(app):
    with served(app) as url:
        headers = {"content-type": "image/png", "x-long": "x" * 60_000}
        answer = httpx.post(f"{url}/images", content=bytes(3_000_000), headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/picture")


@pytest.mark.parametrize(
    ("path", "media_type", "status"),
    [
        ("/jobs", "application/json", 413),
        ("/jobs", "text/plain", 415),
        ("/nothing", "application/json", 404),
        ("/health/live", "application/json", 405),
        ("/static/page.css", "application/json", 405),
    ],
)
@pytest.mark.parametrize("stated", [True, False])
async def test_client_that_sends_all_before_it_reads_hears_why_not(app, path, media_type, status, stated):
    body = bytes(5_000_000)
    with served(app) as url:
        request = Request(url + path, body if stated else iter([body]), {"content-type": media_type}, method="POST")
        with pytest.raises(HTTPError) as refused:  # and no broken pipe; it asks for its connection to be closed
            await asyncio.to_thread(build_opener(ProxyHandler({})).open, request, timeout=20)
        with refused.value as answer:
            assert (answer.status, json.load(answer)["status"]) == (status, status)


def told(client):
    """What comes on the connection until its end."""
    pieces = []
    with suppress(ConnectionError):
        while piece := client.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


HEAD = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"


async def test_reading_on_has_an_end_in_seconds_and_in_bytes(app, monkeypatch):
    monkeypatch.setattr("api.http.lingering.LINGER_S", 1)
    monkeypatch.setattr("api.http.lingering.LINGER_BYTES", 2**20)
    with served(app) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=10) as stalling:
            stalling.sendall(HEAD + b"Content-Length: 5000000\r\n\r\n{")
            begin = time.monotonic()
            assert told(stalling).startswith(b"HTTP/1.1 413")
            assert 0.9 < time.monotonic() - begin < 5
        with socket.create_connection(address, timeout=10) as flooding:
            flooding.sendall(HEAD + b"Content-Length: 500000000\r\n\r\n")
            with pytest.raises(ConnectionError):
                flooding.sendall(bytes(2**27))


async def test_body_that_waits_to_be_asked_for_is_refused_unsent(app):
    with served(app) as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5) as client:
        client.sendall(HEAD + b"Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n")
        begin = time.monotonic()
        assert told(client).startswith(b"HTTP/1.1 413")
        assert time.monotonic() - begin < 2


async def test_client_that_leaves_early_is_no_error(app, caplog):
    with served(app) as url:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
                client.sendall(b"POST /images HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nx")
                time.sleep(0.1)
        assert httpx.get(f"{url}/health/live", trust_env=False).status_code == 200
    assert caplog.records == []


async def test_contract_documents_every_answer(gateway):
    paths = (await gateway.get("/openapi.json")).json()["paths"]
    submitted = {"200", "202", "400", "404", "410", "413", "415", "422", "429", "503"}
    assert set(paths["/jobs"]["post"]["responses"]) == submitted
    assert set(paths["/jobs/{job_id}"]["get"]["responses"]) == {"200", "404", "410", "422", "503"}
    assert set(paths["/quarantine"]["get"]["responses"]) == {"200", "403", "422", "503"}
    assert set(paths["/quarantine/{job_id}/replay"]["post"]["responses"]) == {"202", "403", "404", "429", "503"}
    assert set(paths["/images"]["post"]["responses"]) == {"201", "413", "415", "422", "503"}
    pictures = {"image/png", "image/jpeg", "image/webp", "application/octet-stream"}
    assert set(paths["/images"]["post"]["requestBody"]["content"]) == pictures
    seen = {"200", "400", "404", "413", "415", "422", "503"}
    assert set(paths["/exposures/{key}/views"]["post"]["responses"]) == seen
    assert set(paths["/exposures/{key}"]["delete"]["responses"]) == {"204", "404", "422", "503"}
    for path, methods in paths.items():
        shape = "application/json" if path.startswith("/v1/") else "application/problem+json"
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                assert int(status) < 400 or set(answer.get("content", {})) == {shape}


async def test_contract_refers_to_nothing_it_lacks(gateway):
    text = (await gateway.get("/openapi.json")).text
    schemas = httpx.Response(200, text=text).json()["components"]["schemas"]
    references = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)


async def test_service_is_ready_with_redis_and_storage(gateway):
    assert (await gateway.get("/health/live")).json() == (await gateway.get("/health/ready")).json() == {"status": "ok"}


async def test_service_without_storage_is_not_ready(gateway, settings):
    (settings.data_dir / "objects").write_text("a file where the folder belongs")
    answer = await gateway.get("/health/ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/storage")


@pytest.mark.parametrize("outage", [(Server.kill, Server.start), (Server.freeze, Server.thaw)], ids=["dead", "frozen"])
async def test_redis_away_is_503_on_every_route_and_the_gateway_recovers_by_itself(settings, own_redis, outage):
    app = create_app(settings.model_copy(update={"redis_url": url_of(own_redis)}))
    with served(app) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            job = (await client.post("/jobs", json={"concept": "handbag"})).json()
            waits = [asyncio.create_task(client.get(f"/jobs/{job['id']}?wait=3"))]
            waits.append(
                asyncio.create_task(client.post("/jobs", json={"concept": "lamp"}, headers={"prefer": "wait=3"}))
            )
            await asyncio.sleep(0.5)
            outage[0](own_redis)
            requests = await requests_that_need_redis(client)
            assert len(requests) >= 14
            for answer in await asyncio.gather(*waits, *map(client.send, requests)):
                code = answer.json().get("error", {}).get("code") or answer.json()["type"].rpartition("/")[2]
                assert (answer.status_code, code) == (503, "unavailable")
                assert int(answer.headers["retry-after"]) > 0
            assert (await client.get("/health/live")).status_code == 200
            outage[1](own_redis)
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.get(f"/jobs/{job['id']}")).json()["id"] == job["id"]
            assert (await client.post("/jobs", json={"concept": "handbag"})).status_code == 202


async def requests_that_need_redis(client):
    """One for each operation of the contract that may answer 503."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    operations = [(m.upper(), path) for path, one in paths.items() for m in one if "503" in one[m]["responses"]]
    fill = partial(re.sub, r"\{\w+\}", lambda name: "rarebit" if name[0] == "{model}" else "0" * 32)
    return [client.build_request(method, fill(path), **BODIES.get((method, path), {})) for method, path in operations]


async def test_gateway_starts_without_redis(settings, short_folder):
    app = create_app(settings.model_copy(update={"redis_url": f"unix://{short_folder}/none.sock"}))
    with served(app) as url:
        assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 503
