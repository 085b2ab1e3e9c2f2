"""What holds for every path: problems for errors, the contract, health, and Redis coming and going."""

import asyncio

import httpx
import pytest

from api.app import create_app
from servers import served, url_of


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/jobs/", 404), ("PUT", "/jobs", 405), ("POST", "/health/live", 405)],
)
async def test_what_does_not_exist_is_answered_with_a_problem(gateway, method, path, status):
    answer = await gateway.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert status != 405 or answer.headers["allow"]


async def test_contract_documents_every_answer(gateway):
    paths = (await gateway.get("/openapi.json")).json()["paths"]
    assert set(paths["/jobs"]["post"]["responses"]) == {"200", "202", "400", "413", "415", "422", "429", "503"}
    assert set(paths["/jobs/{job_id}"]["get"]["responses"]) == {"200", "404", "410", "422", "503"}
    assert set(paths["/quarantine"]["get"]["responses"]) == {"200", "422", "503"}
    assert set(paths["/quarantine/{job_id}/replay"]["post"]["responses"]) == {"202", "404", "429", "503"}
    assert set(paths["/images"]["post"]["responses"]) == {"201", "413", "415", "422", "503"}
    assert set(paths["/images"]["post"]["requestBody"]["content"]) == {"image/png", "image/jpeg", "image/webp"}
    assert set(paths["/exposures/{key}/views"]["post"]["responses"]) == {"200", "400", "413", "415", "422", "503"}
    assert set(paths["/exposures/{key}"]["delete"]["responses"]) == {"204", "422", "503"}
    for path in paths.values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                kinds = set(answer.get("content", {}))
                assert int(status) < 400 or kinds == {"application/problem+json"}


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
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:rarebit:problem:storage")


async def test_redis_away_is_503_and_the_gateway_recovers_by_itself(settings, own_redis):
    app = create_app(settings.model_copy(update={"redis_url": url_of(own_redis)}))
    with served(app) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            job = (await client.post("/jobs", json={"concept": "handbag"})).json()
            waiting = asyncio.create_task(client.get(f"/jobs/{job['id']}?wait=30"))
            await asyncio.sleep(0.3)
            own_redis.kill()
            assert (await waiting).status_code == 503
            for answer in (
                await client.post("/jobs", json={"concept": "handbag"}),
                await client.get(f"/jobs/{job['id']}"),
                await client.get("/jobs"),
                await client.get("/health/ready"),
            ):
                assert (answer.status_code, answer.json()["type"]) == (503, "urn:rarebit:problem:unavailable")
                assert answer.headers["retry-after"]
            assert (await client.get("/health/live")).status_code == 200
            own_redis.start()
            assert (await client.get(f"/jobs/{job['id']}")).json()["id"] == job["id"]
            assert (await client.post("/jobs", json={"concept": "handbag"})).status_code == 202


async def test_gateway_starts_without_redis(settings, short_folder):
    app = create_app(settings.model_copy(update={"redis_url": f"unix://{short_folder}/none.sock"}))
    with served(app) as url:
        assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 503
