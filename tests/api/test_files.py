"""Signed URLs open their own object, for their time, and nothing else."""

import uuid
from pathlib import Path

import pytest
from PIL import Image

from services.pictures import encode_png
from services.storage import LocalStorage, open_storage


@pytest.fixture
def storage(settings):
    storage = open_storage(settings)
    for key in ("jobs/a/1/0.webp", "jobs/b/1/0.png"):
        storage.put(key, key.encode(), "image/webp")
    return storage


async def test_signed_url_serves_its_object(gateway, storage):
    answer = await gateway.get(storage.signed_url("jobs/a/1/0.webp", 60))
    assert (answer.status_code, answer.content) == (200, b"jobs/a/1/0.webp")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")


async def test_url_signed_for_another_key_or_time_is_refused(gateway, storage):
    url = storage.signed_url("jobs/a/1/0.webp", 60)
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
        f"{url.partition('?')[0]}?{storage.signed_url('jobs/b/1/0.png', 60).partition('?')[2]}",
        other_service.signed_url("jobs/a/1/0.webp", 60),
    ):
        assert (await gateway.get(forged)).status_code == 403


async def test_expired_url_is_refused(gateway, storage):
    assert (await gateway.get(storage.signed_url("jobs/a/1/0.webp", 0))).status_code == 403


async def test_missing_object_is_not_found(gateway, storage):
    assert (await gateway.get(storage.signed_url("jobs/c/1/0.png", 60))).status_code == 404


@pytest.mark.parametrize("key", ["../signing_key", "/etc/passwd", "%2e%2e/signing_key", "a%00b", ""])
async def test_key_outside_the_store_is_refused(gateway, key):
    answer = await gateway.get(f"/files/{key}?expires=9999999999&signature={'0' * 64}")
    assert answer.status_code in {403, 404}


@pytest.mark.parametrize("folder", ["", "jobs/", "jobs/a/1", "jobs/a/1/"])
async def test_nothing_lists_a_folder(gateway, storage, folder):
    assert (await gateway.get(f"/files/{folder}")).status_code == 422
    assert (await gateway.get(storage.signed_url(folder, 60))).status_code == 404


async def test_names_of_jobs_and_pictures_are_drawn(gateway):
    jobs = [(await gateway.post("/jobs", json={"concept": "lamp"})).json()["id"] for _ in range(3)]
    png = encode_png(Image.new("RGB", (8, 8)))
    pictures = [await gateway.post("/images", content=png, headers={"content-type": "image/png"}) for _ in range(3)]
    names = {uuid.UUID(name) for name in jobs + [picture.json()["id"] for picture in pictures]}
    assert {(name.version, name.variant) for name in names} == {(4, uuid.RFC_4122)}
    assert len(names) == 6
