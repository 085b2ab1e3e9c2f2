"""The configuration of docs/proxies.md, in a real nginx before a real gateway."""

import re
import ssl
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import trustme
from PIL import Image

from api.app import create_app
from nginx import configured
from servers import free_port, served
from services.settings import Settings

PAGE = Path(__file__).parents[2] / "docs/proxies.md"
CONFIGURATION = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
LIMIT_BYTES = Settings.model_fields["picture_limit_bytes"].default


@pytest.fixture
def proxy(settings, tmp_path):
    """A client of the proxy, as the public reaches it."""
    authority, port = trustme.CA(), free_port()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    public = f"https://localhost:{port}"
    with served(create_app(settings.model_copy(update={"public_url": public}))) as url:
        own = {"listen 443": f"listen 127.0.0.1:{port}", "design.example": "localhost"}
        own |= {f"/etc/nginx/rarebit.{name}": str(tmp_path / "pem") for name in ("pem", "key")}
        own |= {address: url.removeprefix("http://") for address in ("10.0.0.5:8000", "10.0.0.6:8000")}
        text = CONFIGURATION
        for shown, meant in own.items():
            assert shown in text
            text = text.replace(shown, meant)
        server = configured(tmp_path, port, text)
        server.start()
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        with httpx.Client(base_url=public, verify=trust, trust_env=False, timeout=20) as client:
            yield client
        server.stop()


def test_picture_of_nearly_the_size_that_the_gateway_takes_comes_through(proxy):
    file = BytesIO()
    Image.effect_noise((1850, 1850), 100).convert("RGB").save(file, "PNG", compress_level=0)
    assert 0.9 * LIMIT_BYTES < len(file.getvalue()) < LIMIT_BYTES
    taken = proxy.post("/images", content=file.getvalue(), headers={"content-type": "image/png"})
    assert taken.status_code == 201


def test_gateway_says_itself_that_a_picture_is_too_large(proxy):
    content = bytes(LIMIT_BYTES + 1)
    refused = proxy.post("/images", content=content, headers={"content-type": "image/png"})
    assert (refused.status_code, refused.json()["type"]) == (413, "/problems/content_too_large")


def test_wait_ends_before_the_proxys_patience():
    wait_s = Settings.model_fields["wait_limit_s"].default
    assert int(re.search(r"proxy_read_timeout (\d+)s;", CONFIGURATION)[1]) > wait_s + 10


def test_events_come_as_they_happen(proxy, leases):
    job = proxy.post("/jobs", json={"concept": "lamp"}).json()
    with proxy.stream("GET", job["urls"]["events"]) as events:
        lines = events.iter_lines()
        leases.claim()
        assert '"running"' in next(line for line in lines if line.startswith("data:"))
        proxy.post(job["urls"]["cancel"])
        assert '"canceling"' in next(line for line in lines if line.startswith("data:"))


def test_links_lead_to_the_proxy_whatever_is_said_to_be_forwarded(proxy, publish):
    said = {"x-forwarded-host": "elsewhere.example", "x-forwarded-proto": "http", "forwarded": "host=elsewhere.example"}
    job = proxy.post("/jobs", json={"concept": "lamp"}, headers=said).json()
    publish()
    answer = proxy.get(job["urls"]["self"], headers=said)
    assert "elsewhere.example" not in answer.text
    [output] = answer.json()["outputs"]
    assert output["url"].startswith(f"{proxy.base_url}/files/")
    assert proxy.get(output["url"]).content == b"picture 0"


def test_metrics_are_not_for_the_public(proxy):
    assert proxy.get("/metrics").status_code == 404
    assert proxy.get("/health/ready").status_code == 200
