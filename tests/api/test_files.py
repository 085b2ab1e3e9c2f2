"""Signed URLs open their own object, for their time, and nothing else; files are served by RFC 9110."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx import AsyncClient
from PIL import Image

from servers import served
from services.objects.storage import LocalStorage, open_storage
from services.pictures.pixels import encode_png

PROBLEM = "application/problem+json"


def url_of(storage, key, ttl_s=60):
    return storage.signed_url(key, datetime.now(UTC) + timedelta(seconds=ttl_s), ttl_s)


@pytest.fixture
def storage(settings):
    storage = open_storage(settings)
    for key in ("jobs/a/1/0.webp", "jobs/b/1/0.png"):
        storage.put(key, key.encode(), "image/webp")
    return storage


async def test_signed_url_serves_its_object(gateway, storage):
    answer = await gateway.get(url_of(storage, "jobs/a/1/0.webp"))
    assert (answer.status_code, answer.content) == (200, b"jobs/a/1/0.webp")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")


async def test_url_signed_for_another_key_or_time_is_refused(gateway, storage):
    url = url_of(storage, "jobs/a/1/0.webp")
    expires = url.partition("expires=")[2].partition("&")[0]
    other_service = LocalStorage(Path("elsewhere"), signing_key="k" * 32, public_url="http://gateway")
    for forged in (
        url.replace("/a/", "/b/"),
        url.replace(expires, str(int(expires) + 1)),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.partition("&signature=")[0] + "&signature=",
        url + "%C3%A9",
        url + "0",
        url.replace(expires, f"{expires}0"),
        url.replace("/jobs/", "//jobs/"),
        url.replace("/a/", "/b/%2E%2E/a/"),
        f"{url.partition('?')[0]}?{url_of(storage, 'jobs/b/1/0.png').partition('?')[2]}",
        url_of(other_service, "jobs/a/1/0.webp"),
    ):
        assert (await gateway.get(forged)).status_code == 403


async def test_expired_url_is_refused(gateway, storage):
    assert (await gateway.get(url_of(storage, "jobs/a/1/0.webp", 0))).status_code == 403


async def test_missing_object_is_not_found(gateway, storage):
    assert (await gateway.get(url_of(storage, "jobs/c/1/0.png"))).status_code == 404


@pytest.mark.parametrize("key", ["../signing_key", "/etc/passwd", "%2e%2e/signing_key", "a%00b", ""])
async def test_key_outside_the_store_is_refused(gateway, key):
    answer = await gateway.get(f"/files/{key}?expires=9999999999&signature={'0' * 64}")
    assert answer.status_code in {403, 404}


@pytest.mark.parametrize("folder", ["", "jobs/", "jobs/a/1", "jobs/a/1/"])
async def test_nothing_lists_a_folder(gateway, storage, folder):
    assert (await gateway.get(f"/files/{folder}")).status_code == 422
    assert (await gateway.get(url_of(storage, folder))).status_code == 404


async def test_names_of_jobs_and_pictures_are_drawn(gateway):
    jobs = [(await gateway.post("/jobs", json={"concept": "lamp"})).json()["id"] for _ in range(3)]
    png = encode_png(Image.new("RGB", (8, 8)))
    pictures = [await gateway.post("/images", content=png, headers={"content-type": "image/png"}) for _ in range(3)]
    names = {uuid.UUID(name) for name in jobs + [picture.json()["id"] for picture in pictures]}
    assert {(name.version, name.variant) for name in names} == {(4, uuid.RFC_4122)}
    assert len(names) == 6


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("red-chair-1.png", 'attachment; filename="red-chair-1.png"'),
        ('椅 "1".png', "attachment; filename*=UTF-8''%E6%A4%85%20%221%22.png"),
    ],
)
async def test_file_is_saved_under_the_name_that_was_signed(gateway, storage, name, header):
    url = storage.signed_url("jobs/a/1/0.webp", datetime.now(UTC) + timedelta(seconds=60), 60, name)
    answer = await gateway.get(url)
    assert (answer.status_code, answer.headers["content-disposition"]) == (200, header)
    for forged in (url.partition("&saved_as")[0], f"{url}.exe"):
        assert (await gateway.get(forged)).status_code == 403
    assert "content-disposition" not in (await gateway.get(url_of(storage, "jobs/a/1/0.webp"))).headers


async def test_output_is_saved_under_the_names_of_its_concept_and_its_job(gateway, publish):
    job = (await gateway.post("/jobs", json={"concept": "椅子/red  chair"})).json()
    publish(2)
    outputs = (await gateway.get(f"/jobs/{job['id']}")).json()["outputs"]
    saved = [(await gateway.get(output["download_url"])).headers["content-disposition"] for output in outputs]
    end = f"-red-chair-{job['id'][:8]}"
    assert saved == [f"attachment; filename*=UTF-8''%E6%A4%85%E5%AD%90{end}-{n}.png" for n in (1, 2)]


async def test_head_is_get_without_content(gateway, storage):
    await gateway.post("/jobs", json={"concept": "lamp"})
    picture = url_of(storage, "jobs/a/1/0.webp")
    for path in (picture, "/health/live", "/jobs", "/", "/docs", "/static/page.css", "/nothing"):
        whole, head = await gateway.get(path), await gateway.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers == whole.headers
    assert (await gateway.head("/images")).status_code == 405


async def test_head_of_an_event_stream_ends(app):
    with served(app) as url:
        async with AsyncClient(base_url=url, trust_env=False) as client:
            job = (await client.post("/jobs", json={"concept": "lamp"})).json()
            for _ in range(2):  # on one connection
                head = await asyncio.wait_for(client.head(job["urls"]["events"]), 5)
                assert (head.status_code, head.headers["content-type"][:17]) == (200, "text/event-stream")


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', "*"])
async def test_file_that_is_known_is_not_sent_again(gateway, storage, known):
    for path in (url_of(storage, "jobs/a/1/0.webp"), "/", "/static/page.css"):
        first = await gateway.get(path)
        again = await gateway.get(path, headers={"if-none-match": known.format(first.headers["etag"])})
        assert (again.status_code, again.content) == (304, b"")
        assert {"etag", "cache-control"} <= set(again.headers)
        assert dict(again.headers).items() <= dict(first.headers).items()  # a browser takes them over
        other = await gateway.get(path, headers={"if-none-match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, b"jobs"),
        ("bytes=5-", 206, b"a/1/0.webp"),
        ("bytes=-4", 206, b"webp"),
        ("bytes=-99", 206, b"jobs/a/1/0.webp"),
        ("Bytes = 0 - 99", 206, b"jobs/a/1/0.webp"),
        *[(odd, 200, b"jobs/a/1/0.webp") for odd in ("items=0-1", "bytes=5-4", "bytes=-", "bytes=x", "bytes", "0-3")],
        *[(odd, 200, b"jobs/a/1/0.webp") for odd in ("bytes=0-1,5-6", f"bytes={'9' * 99}-", "bytes=-1,0-,5-2")],
        *[(beyond, 416, None) for beyond in ("bytes=15-", "bytes=999999-", "bytes=15-20", "bytes=-0")],
    ],
)
async def test_range_that_makes_no_sense_is_ignored_and_one_beyond_the_end_is_a_problem(
    gateway, storage, asked, status, content
):
    answer = await gateway.get(url_of(storage, "jobs/a/1/0.webp"), headers={"range": asked})
    assert answer.status_code == status
    if status == 416:
        assert (answer.headers["content-type"], answer.headers["content-range"]) == (PROBLEM, "bytes */15")
        assert answer.json()["type"] == "/problems/range_not_satisfiable"
    else:
        assert answer.content == content


async def test_range_of_a_file_that_has_changed_is_ignored(gateway, storage):
    url = url_of(storage, "jobs/a/1/0.webp")
    etag = (await gateway.get(url)).headers["etag"]
    for state, asked, status in ((etag, "0-3", 206), ('"other"', "0-3", 200), ('"other"', "99-", 200)):
        answer = await gateway.get(url, headers={"range": f"bytes={asked}", "if-range": state})
        assert answer.status_code == status
