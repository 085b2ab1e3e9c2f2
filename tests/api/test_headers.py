"""What browsers are told with every answer."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from api.app import create_app
from api.http.headers import picture_origin
from servers import SIGNING_KEY
from services.objects.storage import open_storage

PAGES = ["/docs", "/guide", "/problems", "/problems/queue_full"]
DATA = ["/openapi.json", "/jobs", "/jobs/none", "/health/live", "/nothing"]


def policy(answer):
    directives = [directive.split() for directive in answer.headers["content-security-policy"].split("; ")]
    return {name: sources for name, *sources in directives}


@pytest.mark.parametrize("path", PAGES)
async def test_page_loads_nothing_but_its_own_files_and_pictures(gateway, path):
    answer = await gateway.get(path)
    assert policy(answer) == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:", "http://gateway"],
        "connect-src": ["'self'", "http://gateway"],
        "font-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]


@pytest.mark.parametrize("path", DATA)
async def test_data_is_no_page_and_is_kept_nowhere(gateway, path):
    answer = await gateway.get(path)
    assert policy(answer) == {"default-src": ["'none'"], "frame-ancestors": ["'none'"]}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, *DATA, "/static/page.css"])
async def test_no_answer_is_sniffed_referred_to_or_embedded(gateway, path):
    headers = (await gateway.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "strict-transport-security" not in headers


async def test_unexpected_error_has_them_too(gateway, app):
    app.add_api_route("/fails", lambda: 1 / 0)
    answer = await gateway.get("/fails")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_signed_picture_may_be_shown_elsewhere_and_kept(gateway, settings):
    storage = open_storage(settings)
    storage.put("jobs/a/1/0.png", b"a picture", "image/png")
    url = storage.signed_url("jobs/a/1/0.png", datetime.now(UTC) + timedelta(minutes=1), 60)
    headers = (await gateway.get(url)).headers
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert "max-age" in headers["cache-control"]
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_asset_is_kept_as_long_as_it_is_unchanged(gateway):
    first = await gateway.get("/static/page.css")
    again = await gateway.get("/static/page.css", headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("s3.example.org", "https://s3.example.org"),
        ("https://s3.amazonaws.com", "https://rarebit.s3.us-east-1.amazonaws.com"),
    ],
)
def test_pictures_come_from_where_signed_urls_lead(settings, endpoint, origin):
    keys = {"s3_access_key": SecretStr("a-name"), "s3_secret_key": SecretStr(SIGNING_KEY)}
    assert picture_origin(settings.model_copy(update={"storage": "s3", "s3_endpoint": endpoint} | keys)) == origin


def test_browsers_stay_with_https_where_the_public_does(settings):
    app = create_app(settings.model_copy(update={"public_url": "https://rarebit.example.org"}))
    client = TestClient(app, base_url="https://rarebit.example.org")
    assert client.get("/docs").headers["strict-transport-security"] == "max-age=31536000"
