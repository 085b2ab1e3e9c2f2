"""What a request names is looked up before anything is recorded."""

import io

import pytest
from PIL import Image

from services.density_models import family_of

UNKNOWN = "0" * 32


@pytest.fixture
async def output(gateway, publish):
    """The one output of a finished job."""
    await gateway.post("/jobs", json={"concept": "handbag"})
    return f"{publish().id}/0"


@pytest.fixture
async def upload(gateway):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png")
    return (await gateway.post("/images", content=file.getvalue(), headers={"content-type": "image/png"})).json()["id"]


def lamp(**fields):
    return {"concept": "lamp"} | fields


async def test_request_keeps_what_it_refers_to(gateway, output, upload):
    nothing = {"output": f"{UNKNOWN}/0", "weight": 0}
    body = lamp(
        image={"upload": upload, "strength": 0.2},
        avoid=[{"output": output, "weight": 0.5}, nothing],
        toward=[{"text": "brass"}],
        exposure="me",
    )
    answer = await gateway.post("/jobs", json=body)
    request = answer.json()["request"]
    assert answer.status_code == 202
    assert request["image"] == {"upload": upload, "output": None, "strength": 0.2}
    assert request["avoid"] == [{"text": None, "output": output, "weight": 0.5}, {"text": None} | nothing]
    assert request["toward"] == [{"text": "brass", "output": None, "weight": 1}]
    assert request["exposure"] == "me"
    again = await gateway.post("/jobs", json=request)
    assert (again.status_code, again.json()["request"]) == (202, request)


@pytest.mark.parametrize(
    ("fields", "pointer", "value"),
    [
        ({"image": {"upload": UNKNOWN}}, "/image/upload", UNKNOWN),
        ({"image": {"output": f"{UNKNOWN}/0"}}, "/image/output", f"{UNKNOWN}/0"),
        ({"avoid": [{"text": "neon"}, {"output": f"{UNKNOWN}/15"}]}, "/avoid/1/output", f"{UNKNOWN}/15"),
        ({"toward": [{"output": f"{UNKNOWN}/0"}]}, "/toward/0/output", f"{UNKNOWN}/0"),
        ({"found": {"output": f"{UNKNOWN}/0"}}, "/found/output", f"{UNKNOWN}/0"),
    ],
)
async def test_missing_reference_is_named_and_nothing_is_recorded(gateway, fields, pointer, value):
    key = {"Idempotency-Key": "once"}
    answer = await gateway.post("/jobs", json=lamp(**fields), headers=key)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, pointer)
    assert value in error["detail"]
    assert (await gateway.get("/jobs")).json()["jobs"] == []
    assert (await gateway.post("/jobs", json=lamp(), headers=key)).status_code == 202


async def test_every_missing_reference_is_named(gateway, output):
    body = lamp(image={"upload": UNKNOWN}, avoid=[{"output": output}], toward=[{"output": f"{UNKNOWN}/0"}])
    answer = await gateway.post("/jobs", json=body)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/image/upload", "/toward/0/output"]


async def test_only_an_output_that_is_there_can_be_named(gateway, output, leases):
    queued = (await gateway.post("/jobs", json=lamp())).json()["id"]
    names = [output.replace("/0", "/1"), f"{queued}/0"]
    assert [(await gateway.post("/jobs", json=lamp(image={"output": name}))).status_code for name in names] == [422] * 2
    leases.claim()
    assert (await gateway.post("/jobs", json=lamp(image={"output": names[1]}))).status_code == 422


async def test_erased_or_expired_references_are_missing(gateway, output, upload, publish):
    await gateway.delete(f"/jobs/{output.partition('/')[0]}")
    await gateway.delete(f"/images/{upload}")
    await gateway.post("/jobs", json=lamp(expires_in=1))
    expiring = f"{publish().id}/0"
    while (await gateway.get(f"/jobs/{expiring.partition('/')[0]}")).status_code != 410:
        continue
    for image in ({"output": output}, {"upload": upload}, {"output": expiring}):
        assert (await gateway.post("/jobs", json=lamp(image=image))).status_code == 422


async def test_replay_answers_with_the_first_job_when_its_references_are_gone(gateway, output, upload):
    key = {"Idempotency-Key": "once"}
    body = lamp(image={"upload": upload}, avoid=[{"output": output}])
    first = await gateway.post("/jobs", json=body, headers=key)
    await gateway.delete(f"/images/{upload}")
    await gateway.delete(f"/jobs/{output.partition('/')[0]}")
    again = await gateway.post("/jobs", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["idempotency-replayed"] == "true"
    other = await gateway.post("/jobs", json=body | {"concept": "chair"}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency_conflict")
    assert (await gateway.post("/jobs", json=body)).status_code == 422


@pytest.mark.parametrize("name", ["image", "avoid", "toward"])
async def test_an_output_of_another_model_is_named_and_nothing_is_recorded(gateway, leases, publish, name):
    outputs = []
    for replay in ({"model": "a" * 64}, {"model": "b" * 64}, {}):
        await gateway.post("/jobs", json={"concept": "handbag"})
        outputs.append(f"{publish(**replay).id}/0")

    async def ask(output):
        wish = {"output": output}
        answer = await gateway.post("/jobs", json=lamp(**{name: wish if name == "image" else [wish]}))
        return answer.status_code, [(one["pointer"], one["detail"]) for one in answer.json().get("errors", [])]

    assert [await ask(output) for output in outputs] == [(202, [])] * 3
    leases.serve(family_of("b" * 64, 5000), [])
    told = f"the output {outputs[0]} is of the model aaaaaaaaaaaa, the service has the model bbbbbbbbbbbb, "
    status, [(pointer, detail)] = await ask(outputs[0])
    assert (status, pointer) == (422, "/image/output" if name == "image" else f"/{name}/0/output")
    assert detail == told + "to which its embedding says nothing"
    assert [await ask(output) for output in outputs[1:]] == [(202, [])] * 2
    assert len((await gateway.get("/jobs?status=queued")).json()["jobs"]) == 5


async def test_what_is_found_is_drawn_again_in_its_concept_alone(gateway, output):
    taken = await gateway.post("/jobs", json={"concept": "Handbags", "found": {"output": output}, "prompt": "a red {}"})
    request = {"output": output, "kept": None, "strength": None}
    assert (taken.status_code, taken.json()["request"]["found"]) == (202, request)
    refused = await gateway.post("/jobs", json=lamp(found={"output": output}))
    [error] = refused.json()["errors"]
    assert (refused.status_code, error["pointer"]) == (422, "/found/output")
    assert error["detail"] == f"the output {output} is of the concept ‘handbag’, not of ‘lamp’"


@pytest.mark.parametrize(
    "optimised",
    [
        {"rarity": {"bits": 4}},
        {"mode": "paper"},
        {"space": ["token"]},
        {"steps": 9},
        {"image": {"upload": UNKNOWN}},
        {"avoid": [{"text": "red"}]},
        {"toward": [{"text": "red"}]},
        {"variety": 0.5},
    ],
)
async def test_nothing_is_optimised_of_what_is_found(gateway, output, optimised):
    answer = await gateway.post("/jobs", json={"concept": "handbag", "found": {"output": output}} | optimised)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, f"/{next(iter(optimised))}")
    assert error["detail"] == "is of what is optimised; what is found is only drawn again"
