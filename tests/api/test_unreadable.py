"""A record that cannot be read is named and set aside, and stops nobody."""

import pytest

from services.exposure import Feedback, View

DAMAGE = [
    {"request": "{"},
    {"request": "[]"},
    {"request": '{"concept": "lamp", "mode": "dreaming", "seed": 1, "run_within": 9, "expires_in": 9}'},
    {"metrics": "[1]"},
    {"created_at": "soon"},
    {"expires_at": "9" * 18},
    {"kind": "film"},
]


@pytest.fixture
def damage(client):
    return lambda job_id, fields: client.hset(f"{{rarebit}}:job:{job_id}", mapping=fields)


async def submitted(gateway, **fields):
    return (await gateway.post("/jobs", json={"concept": "lamp"} | fields)).json()["id"]


@pytest.mark.parametrize("fields", DAMAGE, ids=str)
async def test_a_worker_that_cannot_read_its_next_job_takes_the_one_after(
    gateway, leases, client, damage, fields, caplog
):
    bad, good = await submitted(gateway), await submitted(gateway)
    damage(bad, fields)
    assert leases.claim().id == good
    assert client.zrange("{rarebit}:leases", 0, -1) == [good]
    quarantine = (await gateway.get("/quarantine")).json()
    assert [*quarantine["unreadable"], *(job["id"] for job in quarantine["jobs"])] == [bad]
    assert any(bad in line for line in caplog.messages)


@pytest.mark.parametrize("loss", ["delete", "status"])
async def test_what_is_no_job_leaves_the_queue(gateway, leases, client, damage, loss):
    bad, good = await submitted(gateway), await submitted(gateway)
    client.delete(f"{{rarebit}}:job:{bad}") if loss == "delete" else damage(bad, {"status": "dreaming"})
    assert leases.claim().id == good
    assert leases.waiting() == 0


@pytest.mark.parametrize("fields", [*DAMAGE, {"result": "[]"}, {"result": '{"outputs": [{}]}'}], ids=str)
async def test_lists_and_batches_name_it_and_have_the_others(gateway, publish, damage, fields):
    batch = (await gateway.post("/batches", json={"jobs": [{"concept": "lamp"}] * 2})).json()
    bad, good = publish().id, publish().id
    damage(bad, fields)
    listed = (await gateway.get("/jobs")).json()
    assert ([job["id"] for job in listed["jobs"]], listed["unreadable"]) == ([good], [bad])
    items = (await gateway.get(batch["urls"]["self"])).json()["items"]
    assert [item["status"] for item in items] == [500, 202]
    alone = await gateway.get(f"/jobs/{bad}")
    assert (alone.status_code, alone.json()) == (500, items[0]["problem"])
    assert (alone.json()["type"], bad in alone.json()["detail"]) == ("/problems/unreadable", True)
    assert (await gateway.get("/quarantine")).json()["unreadable"] == [bad]


async def test_one_that_has_lost_its_page_number_is_listed(gateway, publish, client):
    await submitted(gateway)
    bad = publish().id
    client.delete(f"{{rarebit}}:job:{bad}")
    assert (await gateway.get("/jobs?limit=1")).json() == {"jobs": [], "next_cursor": None, "unreadable": [bad]}


async def test_it_can_be_erased(gateway, publish, damage, client):
    await submitted(gateway)
    bad = publish().id
    damage(bad, {"request": "{"})
    await gateway.get("/jobs")
    assert (await gateway.delete(f"/jobs/{bad}")).status_code == 204
    assert (await gateway.get("/quarantine")).json() == {"jobs": [], "next_cursor": None, "unreadable": []}
    assert (await gateway.get(f"/jobs/{bad}")).status_code == 404


async def test_a_worker_that_can_read_it_runs_its_replay(gateway, leases, client, damage):
    bad = await submitted(gateway)
    request = client.hget(f"{{rarebit}}:job:{bad}", "request")
    damage(bad, {"request": "{"})
    assert leases.claim() is None
    damage(bad, {"request": request})
    replay = await gateway.post(f"/quarantine/{bad}/replay")
    assert (replay.status_code, leases.claim().id) == (202, replay.json()["id"])


async def test_its_stream_ends_and_its_outputs_are_no_reference(gateway, publish, damage):
    await submitted(gateway)
    bad = publish().id
    damage(bad, {"result": "[]"})
    assert (await gateway.get(f"/jobs/{bad}/events")).status_code == 500
    refused = await gateway.post("/jobs", json={"concept": "lamp", "avoid": [{"output": f"{bad}/0"}]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/avoid/0/output")


async def test_a_progress_of_another_version_hides_no_job(gateway, leases, damage):
    job_id = await submitted(gateway)
    leases.claim()
    damage(job_id, {"progress": '{"phase": "dream", "step": 1, "steps": 2}'})
    job = (await gateway.get(f"/jobs/{job_id}")).json()
    assert (job["status"], job["progress"]) == ("running", None)


async def test_damaged_views_models_and_pictures_hide_no_others(gateway, client, jobs):
    view = View.of("0" * 32 + "/0", "lamp", Feedback.LIKED, bytes(12), None)
    await jobs.add_views("user-7", [view, view.model_copy(update={"output": "0" * 32 + "/1"})])
    [history] = client.keys("{rarebit}:exposure:*[^r]")
    client.hset(history, view.output, "{}")
    assert (await gateway.get("/exposures/user-7")).json()["size"] == 1
    client.hset("{rarebit}:upload:" + "1" * 32, mapping={"tenant": "", "document": "{}"})
    picture = await gateway.get("/images/" + "1" * 32)
    assert (picture.status_code, picture.json()["type"]) == (500, "/problems/unreadable")
    client.hset("{rarebit}:models:", "x", "{}")
    client.zadd("{rarebit}:models-order:", {"x": 1})
    assert (await gateway.get("/density-models")).json() == {"density_models": []}
