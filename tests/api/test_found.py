"""Found things outlive their jobs, are their tenant's alone, and go out and in as one file."""

import io
import json
import math

import pytest
from PIL import Image

from services.bounds import FOUND
from services.errors import StorageError
from services.found import FACTS
from services.objects.keys import found_key, found_picture_key, found_prefix, output_key, state_key
from services.pictures.files import carried, carrying

PNG = {"content-type": "image/png"}
UNKNOWN = "0" * 32


def png():
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 10, 10)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def make(gateway, publish, storage):
    """A finished job's one output."""

    async def make(**replay):
        await gateway.post("/jobs", json={"concept": "handbag"})
        job_id = publish(**replay).id
        storage.put(output_key(job_id, 1, 0, "png"), png(), "image/png")
        return f"{job_id}/0"

    return make


async def keep(gateway, output, name="the arch"):
    return await gateway.post("/found", json={"output": output, "name": name})


async def test_what_is_kept_outlives_its_job(gateway, make, storage):
    output = await make(model="a" * 64)
    answer = await keep(gateway, output)
    found = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/found/{found['id']}")
    assert (await gateway.delete(f"/jobs/{output.partition('/')[0]}")).status_code == 204
    again = (await gateway.get(f"/found/{found['id']}")).json()
    same = {"name": "the arch", "concept": "handbag", "model": "a" * 64, "bits": 10.0, "validity": 0.9}
    assert {name: again[name] for name in same} == same
    assert (again["width"], again["height"]) == (8, 6)
    picture = Image.open(io.BytesIO(storage.get(found_picture_key(found["id"]))))
    assert (picture.size, picture.getpixel((0, 0))) == ((8, 6), (200, 10, 10))


async def test_the_list_has_the_newest_first_and_only_the_callers(gateway, make, redis_url):
    output = await make()
    ids = [(await keep(gateway, output, name)).json()["id"] for name in ("one", "two")]
    listed = (await gateway.get("/found")).json()["found"]
    assert [(one["id"], one["name"]) for one in listed] == [(ids[1], "two"), (ids[0], "one")]


async def test_a_job_draws_what_is_kept_in_its_concept(gateway, make):
    kept = (await keep(gateway, await make())).json()["id"]
    taken = await gateway.post("/jobs", json={"concept": "a handbag", "found": {"kept": kept, "strength": 0.7}})
    assert taken.json()["request"]["found"] == {"output": None, "kept": kept, "strength": 0.7}
    for found, concept, pointer, told in (
        ({"kept": kept}, "lamp", "/found/kept", f"the found thing {kept} is of the concept ‘handbag’, not of ‘lamp’"),
        ({"kept": UNKNOWN}, "handbag", "/found/kept", f"there is no found thing {UNKNOWN}"),
        ({}, "handbag", "/found", "give exactly one of output and kept"),
        ({"kept": kept, "output": f"{UNKNOWN}/0"}, "handbag", "/found", "give exactly one of output and kept"),
        ({"kept": kept, "strength": 1.1}, "handbag", "/found/strength", "has to be 1.0 or less"),
    ):
        refused = await gateway.post("/jobs", json={"concept": concept, "found": found})
        [error] = refused.json()["errors"]
        assert (refused.status_code, error["pointer"], error["detail"]) == (422, pointer, told)


async def test_what_another_model_found_is_refused(gateway, leases, make):
    kept = (await keep(gateway, await make(model="a" * 64))).json()["id"]
    leases.serve(f"{'b' * 64}-5000", [])
    refused = await gateway.post("/jobs", json={"concept": "handbag", "found": {"kept": kept}})
    [error] = refused.json()["errors"]
    assert (refused.status_code, error["pointer"]) == (422, "/found/kept")
    assert error["detail"].startswith(f"the found thing {kept} is of the model aaaaaaaaaaaa, the service has")


async def test_it_goes_out_and_in_as_one_picture(gateway, make, storage):
    output = await make()
    found = (await keep(gateway, output)).json()
    file = storage.get(found_key(found["id"]))
    assert Image.open(io.BytesIO(file)).size == (8, 6)
    assert carried(file) == storage.get(state_key(output.partition("/")[0], 1, 0))
    assert "saved_as=the-arch.png" in found["download_url"]
    for media_type in ("image/png", "application/octet-stream"):
        taken = await gateway.post("/found-files?name=again", content=file, headers={"content-type": media_type})
        again = taken.json()
        assert (taken.status_code, again["name"], again["concept"]) == (201, "again", "handbag")
        assert storage.get(found_key(again["id"])) == file


def learnt(**facts):
    names = {"model": "none", "checker": "none", "concept": "handbag", "prompt": "a {}", "space": []}
    figures = {"seed": 0, "strength": 0.5, "bits": 1.0, "validity": None}
    head = json.dumps({"__metadata__": {FACTS: json.dumps(names | figures | facts)}}).encode()
    return carrying(png(), len(head).to_bytes(8, "little") + head)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (learnt(concept="x" * 201), "cannot be read: concept: String should have at most 200 characters"),
        (learnt(prompt="a chair"), "cannot be read: prompt: has 0 places for the concept"),
        (learnt(model="x" * 65), "cannot be read: model: String should have at most 64 characters"),
        (learnt(bits=math.inf), "cannot be read: bits: Input should be a finite number"),
        (png(), "the picture carries nothing that was found: it has to be a file of a found thing"),
        (b"", "the picture carries nothing"),
        (carrying(png(), (10**6).to_bytes(8, "little") + b"[" * 10**6), "its head is nested too deeply"),
        (carrying(png(), b"no file"), "what led to the picture cannot be read"),
        (carrying(png(), (2).to_bytes(8, "little") + b"[]"), "only its embedding is kept"),
        (carrying(png(), (2).to_bytes(8, "little") + b"{}"), "only its embedding is kept"),
        (carrying(png(), b"{}").replace(b"IDAT", b"IDAX"), "what led to the picture cannot be read"),
    ],
)
async def test_a_file_of_nothing_found_is_refused_and_nothing_is_kept(gateway, file, told):
    refused = await gateway.post("/found-files?name=again", content=file, headers=PNG)
    assert (refused.status_code, told in refused.text) == (422, True)
    assert (await gateway.get("/found")).json() == {"found": []}


async def test_what_is_erased_is_gone_with_all_of_its_objects(gateway, make, storage):
    kept = (await keep(gateway, await make())).json()["id"]
    storage.put(f"{found_prefix(kept)}densities/some/model.bin", b"1", "application/octet-stream")
    assert (await gateway.delete(f"/found/{kept}")).status_code == 204
    assert not storage.holds(found_prefix(kept))
    for answer in (await gateway.get(f"/found/{kept}"), await gateway.delete(f"/found/{kept}")):
        assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no found thing {kept}")
    assert (await gateway.get("/found")).json() == {"found": []}


async def test_what_cannot_be_stored_is_not_kept(gateway, make, app, monkeypatch):
    output = await make()

    def away(*_):
        raise StorageError("the store is away")

    monkeypatch.setattr(type(app.state.gateway.storage), "put", away)
    assert (await keep(gateway, output)).status_code == 503
    assert (await gateway.get("/found")).json() == {"found": []}


async def test_no_more_are_kept_than_may_be(gateway, make, monkeypatch):
    monkeypatch.setattr("api.pictures.FOUND", 1)
    output = await make()
    assert (await keep(gateway, output)).status_code == 201
    refused = await keep(gateway, output)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/found_limit")
    assert FOUND == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"output": f"{UNKNOWN}/0", "name": "x"}, "/output"),
        ({"output": "x", "name": "x"}, "/output"),
        ({"output": f"{UNKNOWN}/0", "name": ""}, "/name"),
        ({"output": f"{UNKNOWN}/0", "name": "x" * 101}, "/name"),
        ({"output": f"{UNKNOWN}/0", "name": "a\u200bb"}, "/name"),
    ],
)
async def test_what_cannot_be_kept_is_named(gateway, body, pointer):
    refused = await gateway.post("/found", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
