"""Only what is sent to the service's own hosts is answered; probes and metrics know no name."""

import pytest
from httpx import ASGITransport, AsyncClient

from api.app import create_app

PROBES = ["/health/live", "/health/ready", "/metrics"]


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"hosts": ["Design.test", "10.0.0.7", "fd00::7"]})


@pytest.mark.parametrize(
    "host",
    [
        "gateway",
        "GATEWAY:80",
        "localhost:8000",
        "127.0.0.1",
        "[::1]:8000",
        "[::1]",
        "design.test",
        "10.0.0.7:1",
        "[fd00::7]",
    ],
)
async def test_own_host_is_served_on_any_port(gateway, host):
    assert (await gateway.get("/jobs", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "127.0.0.1.rebound.example:8000",
        "10.0.0.8",
        "[::2]",
        "localhost:x",
        "[::1",
        "localhost@e",
        "",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/jobs"), ("DELETE", "/jobs/x"), ("GET", "/"), ("GET", "/nothing")]
)
async def test_page_whose_name_leads_here_reads_and_erases_nothing(gateway, host, method, path):
    answer = await gateway.request(method, path, headers={"host": host})
    assert (answer.status_code, answer.headers["content-type"]) == (421, "application/problem+json")
    assert answer.json()["type"] == "/problems/misdirected"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize(
    ("host", "status"),
    [("10.244.0.3:8000", 200), ("[fd00::9]", 200), ("", 200), ("rebound.example", 421), ("1.2.3", 421)],
)
async def test_probes_and_metrics_are_served_by_address_too(gateway, path, host, status):
    assert (await gateway.get(path, headers={"host": host})).status_code == status


async def test_host_of_the_public_url_is_served_without_its_port_and_path(settings):
    app = create_app(settings.model_copy(update={"public_url": "https://[fd00::1]:8443/rarebit"}))
    async with AsyncClient(transport=ASGITransport(app), base_url="https://[fd00::1]:8443") as client:
        assert (await client.get("/problems")).status_code == 200
        assert (await client.get("/problems", headers={"host": "gateway"})).status_code == 421
