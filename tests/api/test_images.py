"""Uploaded pictures: kept as the same kind of PNG, for their time, and refused with a sentence."""

import asyncio
import hashlib
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from api.app import create_app
from services.jobs.leases import Leases
from services.jobs.store import connect
from services.objects.keys import upload_key, upload_prefix
from worker.sweeper import Sweeper


def encoded(kind, size=(200, 100)):
    file = io.BytesIO()
    Image.new("RGB", size, (200, 0, 0)).save(file, kind)
    return file.getvalue()


def post(gateway, body, media_type="image/png"):
    return gateway.post("/images", content=body, headers={"content-type": media_type})


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
async def test_picture_comes_back_as_it_is_kept(gateway, storage, kind):
    answer = await post(gateway, encoded(kind, (2000, 1000)), f"image/{kind}")
    kept = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/images/{kept['id']}")
    assert (kept["width"], kept["height"]) == (1024, 512)
    found = (await gateway.get(answer.headers["location"])).json()
    assert kept == {name: value for name, value in found.items() if name not in {"url", "url_expires_at"}}
    picture = await gateway.get(found["url"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == storage.get(upload_key(kept["id"]))
    assert (len(picture.content), hashlib.sha256(picture.content).hexdigest()) == (kept["bytes"], kept["sha256"])
    assert np.abs(np.asarray(Image.open(io.BytesIO(picture.content)), "i4") - (200, 0, 0)).max() < 5


async def test_jpeg_may_be_called_jpg(gateway):
    assert (await post(gateway, encoded("jpeg"), "image/jpg")).status_code == 201
    refused = await post(gateway, encoded("gif"), "image/gif")
    named = "image/png or image/jpeg or image/webp or application/octet-stream"
    assert refused.json()["detail"] == f"the body has to be {named}, not image/gif"


async def test_file_of_no_stated_kind_is_known_by_its_first_bytes(gateway):
    taken = [await post(gateway, encoded(kind), "application/octet-stream") for kind in ("png", "jpeg", "webp")]
    assert [(answer.status_code, answer.json()["width"]) for answer in taken] == [(201, 200)] * 3
    refused = await post(gateway, encoded("gif"), "application/octet-stream")
    assert refused.status_code == 422
    assert refused.json()["detail"] == "the picture is none of image/png, image/jpeg, image/webp"


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"", "image/png", 422),
        (b"GIF89a", "image/gif", 415),
        (b"<svg/>", "image/svg+xml", 415),
        (b"{}", "application/json", 415),
        (b"", "", 415),
        (encoded("gif"), "image/png", 422),
        (encoded("jpeg"), "image/png", 422),
        (encoded("png")[:50], "image/png", 422),
        (encoded("png") + bytes(10 * 1024 * 1024), "image/png", 413),
    ],
)
async def test_body_that_is_no_such_picture_is_a_client_error(gateway, settings, body, media_type, status):
    answer = await post(gateway, body, media_type)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["detail"].count("\n") == 0
    assert not (settings.data_dir / "objects").exists()


async def test_refused_picture_says_why(gateway):
    answer = await post(gateway, encoded("webp", (5001, 5000)), "image/webp")
    assert (answer.json()["type"], answer.json()["status"]) == ("/problems/picture", 422)
    assert "has 25005000 pixels, 25000000 are taken" in answer.json()["detail"]


async def test_limit_of_pictures_holds_for_pictures_only(gateway):
    async def chunks(kilobytes):
        for _ in range(kilobytes):
            yield bytes(1024)

    assert (await post(gateway, chunks(100))).status_code == 422
    assert (await post(gateway, chunks(10 * 1024 + 1))).status_code == 413
    json = {"content-type": "application/json"}
    assert (await gateway.post("/jobs", content=chunks(100), headers=json)).status_code == 413


async def test_many_pictures_at_once_are_all_taken(gateway):
    answers = await asyncio.gather(*(post(gateway, encoded("png", (1000, 1000 + n))) for n in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 20


async def test_erased_picture_is_unknown(gateway, storage):
    path = (await post(gateway, encoded("png"))).headers["location"]
    url = (await gateway.get(path)).json()["url"]
    assert (await gateway.delete(path)).status_code == 204
    for answer in (await gateway.get(path), await gateway.delete(path), await gateway.get(url)):
        assert answer.status_code == 404
    assert not storage.exists(upload_key(path.removeprefix("/images/")))


async def test_picture_that_is_stored_after_it_was_erased_is_erased_again(gateway, storage, leases, redis_url):
    """Whoever stores may be slower than whoever erases."""
    path = (await post(gateway, encoded("png"))).headers["location"]
    upload_id = path.removeprefix("/images/")
    assert (await gateway.delete(path)).status_code == 204
    sweep = Sweeper(leases, storage, interval_s=10).sweep
    sweep()
    storage.put(upload_key(upload_id), b"late", "image/png")
    with connect(redis_url) as client:
        assert client.zadd("{rarebit}:expiry", {upload_prefix(upload_id): 0}, xx=True, ch=True) == 1
    sweep()
    assert not storage.exists(upload_key(upload_id))


@pytest.mark.parametrize("upload_id", ["0" * 32, "x", "%00", "..%2F..", "{rarebit}"])
async def test_unknown_picture_is_not_found(gateway, upload_id):
    for answer in (await gateway.get(f"/images/{upload_id}"), await gateway.delete(f"/images/{upload_id}")):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_expired_picture_is_gone_before_and_after_the_sweep(settings, leases: Leases, storage):
    app = create_app(settings.model_copy(update={"output_ttl_s": 1}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as gateway,
    ):
        path = (await post(gateway, encoded("png"))).headers["location"]
        key = upload_key(path.removeprefix("/images/"))
        await asyncio.sleep(1.1)
        for sweep in (lambda: None, Sweeper(leases, storage, interval_s=10).sweep):
            sweep()
            for answer in (await gateway.get(path), await gateway.delete(path)):
                assert (answer.status_code, answer.json()["type"]) == (410, "/problems/expired")
        assert not storage.exists(key)
        assert leases.take_erasures() == []


async def test_store_that_is_away_is_said_so(gateway, settings):
    (settings.data_dir / "objects").write_text("a file where the folder belongs")
    answer = await post(gateway, encoded("png"))
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/storage")
    assert answer.json()["detail"] == "what belongs to the job or the picture cannot be stored or read now"
