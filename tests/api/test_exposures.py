"""A user's history over HTTP: in numbers, added to, judged, forgotten."""

from urllib.parse import quote

import numpy as np
import pytest
from safetensors.numpy import save

from services.objects.keys import state_key

EMPTY = {"size": 0, "feedback": {"liked": 0, "disliked": 0, "neutral": 0}, "concepts": {}}


@pytest.fixture
def make_outputs(gateway, publish):
    """The names of a finished job's outputs."""

    async def make(concept="handbag", count=1):
        await gateway.post("/jobs", json={"concept": concept})
        claim = publish(count)
        return [f"{claim.id}/{index}" for index in range(count)]

    return make


def judged(feedback, *outputs):
    return {"views": [{"output": output, "feedback": feedback} for output in outputs]}


async def test_history_never_used_is_empty(gateway):
    answer = await gateway.get("/exposures/me")
    assert (answer.status_code, answer.json()) == (200, {"key": "me"} | EMPTY)


async def test_views_are_added_with_what_their_outputs_learnt(gateway, make_outputs, leases):
    bags, [lamp] = await make_outputs(count=2), await make_outputs("lamp")
    await gateway.post("/exposures/me/views", json=judged("liked", *bags))
    answer = await gateway.post("/exposures/me/views", json=judged("neutral", lamp))
    expected = {"liked": 2, "disliked": 0, "neutral": 1}
    assert answer.json() == {"key": "me", "size": 3, "feedback": expected, "concepts": {"handbag": 2, "lamp": 1}}
    assert answer.json() == (await gateway.get("/exposures/me")).json()
    views = leases.views("", "me")
    assert [view.output for view in views] == [*bags, lamp]
    assert views[1].values() == b"\0\0\x80?" * 3  # 1.0 in float32


async def test_a_view_names_the_model_that_made_its_output(gateway, publish, leases):
    for replay in ({"model": "a" * 64}, {}):
        await gateway.post("/jobs", json={"concept": "handbag"})
        await gateway.post("/exposures/me/views", json=judged("liked", f"{publish(**replay).id}/0"))
    assert [view.model for view in leases.views("", "me")] == ["a" * 64, None]


async def test_output_seen_again_counts_once_with_the_last_judgement(gateway, make_outputs):
    [output] = await make_outputs()
    for feedback in ("liked", "disliked", "neutral"):
        answer = await gateway.post("/exposures/me/views", json=judged(feedback, output, output))
        assert (answer.json()["size"], answer.json()["feedback"][feedback]) == (1, 1)


@pytest.mark.parametrize("key", ["me", "a tenant/somebody", "x/views", "ünïcode…", "%2F", "k" * 128])
async def test_any_key_that_a_job_may_have_names_its_history(gateway, make_outputs, key):
    [output] = await make_outputs()
    path = f"/exposures/{quote(key, safe='')}"
    assert (await gateway.post(f"{path}/views", json=judged("liked", output))).json()["key"] == key
    assert (await gateway.get(path)).json()["size"] == 1
    for _ in range(2):
        assert (await gateway.delete(path)).status_code == 204
    assert (await gateway.get(path)).json() == {"key": key} | EMPTY


@pytest.mark.parametrize("key", ["", "%20", "a%00b", "%7F", "k" * 129])
async def test_key_that_no_job_may_have_is_refused(gateway, key):
    for answer in (
        await gateway.get(f"/exposures/{key}"),
        await gateway.delete(f"/exposures/{key}"),
        await gateway.post(f"/exposures/{key}/views", json=judged("liked", f"{'a' * 32}/0")),
    ):
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "key")


async def test_unknown_output_is_named_and_nothing_is_added(gateway, make_outputs, storage):
    [known] = await make_outputs()
    [erased] = await make_outputs()
    storage.delete(f"jobs/{erased.partition('/')[0]}/")
    for unknown in (f"{'0' * 32}/0", known.replace("/0", "/1"), erased):
        answer = await gateway.post("/exposures/me/views", json=judged("liked", known, unknown))
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["pointer"]) == (422, "/views/1/output")
        assert unknown in error["detail"]
    assert (await gateway.get("/exposures/me")).json()["size"] == 0


@pytest.mark.parametrize("damaged", [b"", b"{", save({"other": np.zeros(3, "f4")})], ids=["empty", "cut", "other"])
async def test_an_output_whose_embedding_the_store_has_damaged_is_named_and_nothing_is_added(
    gateway, make_outputs, storage, damaged
):
    known, bad = await make_outputs(count=2)
    storage.path(state_key(bad.partition("/")[0], 1, 1)).write_bytes(damaged)
    answer = await gateway.post("/exposures/me/views", json=judged("liked", known, bad))
    detail = f"this version of the service cannot read what is kept of output {bad}"
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "/views/1/output", "detail": detail}])
    assert (await gateway.get("/exposures/me")).json()["size"] == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"views": []}, "/views"),
        (judged("liked", *[f"{'a' * 32}/0"] * 65), "/views"),
        (judged("adored", f"{'a' * 32}/0"), "/views/0/feedback"),
        (judged(1, f"{'a' * 32}/0"), "/views/0/feedback"),
        (judged("liked", "../0"), "/views/0/output"),
        (judged("liked", f"{'a' * 32}/00"), "/views/0/output"),
        ({"views": [{"output": f"{'a' * 32}/0"}]}, "/views/0/feedback"),
        ({}, "/views"),
    ],
)
async def test_view_that_says_something_else_is_refused(gateway, body, pointer):
    answer = await gateway.post("/exposures/me/views", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
