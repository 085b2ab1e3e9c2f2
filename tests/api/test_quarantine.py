"""Operators see the jobs that two workers died with, and replay them, over HTTP and on the command line."""

import asyncio
import subprocess
import sys
from pathlib import Path

from api.app import create_app
from servers import served
from services.jobs.store import connect


async def test_replay_answers_with_a_new_job_of_the_same_seed(gateway, lose_next):
    old = (await gateway.post("/jobs", json={"concept": "handbag"})).json()
    lose_next()
    [found] = (await gateway.get("/quarantine")).json()["jobs"]
    assert (found["id"], found["status"], found["error"]["code"]) == (old["id"], "failed", "worker_lost")
    answer = await gateway.post(f"/quarantine/{old['id']}/replay")
    new = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/jobs/{new['id']}")
    assert (new["status"], new["request"]) == ("queued", old["request"])
    assert new["id"] != old["id"]
    assert (await gateway.get("/quarantine")).json() == {"jobs": [], "next_cursor": None, "unreadable": []}


async def test_only_a_quarantined_job_is_replayed(gateway, lose_next):
    queued = (await gateway.post("/jobs", json={"concept": "handbag"})).json()
    for job_id in (queued["id"], "0" * 32):
        answer = await gateway.post(f"/quarantine/{job_id}/replay")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not_quarantined")
    lose_next()
    statuses = [(await gateway.post(f"/quarantine/{queued['id']}/replay")).status_code for _ in range(2)]
    assert statuses == [202, 404]


async def test_command_line_lists_and_replays(settings, gateway, lose_next, leases, redis_url):
    old, damaged = [(await gateway.post("/jobs", json={"concept": "hand bag"})).json() for _ in range(2)]
    lose_next()
    with connect(redis_url) as client:
        client.hset(f"{{rarebit}}:job:{damaged['id']}", "request", "{")
    assert leases.claim() is None
    with served(create_app(settings)) as url:

        async def rarebit(*words):
            command = [str(Path(sys.executable).with_name("rarebit")), "quarantine", *words, "--url", url]
            return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

        listed = await rarebit("list")
        quarantined, unreadable = listed.stdout.splitlines()
        assert quarantined.split("\t")[::2] == [old["id"], "hand bag"]
        assert unreadable.split("\t") == [damaged["id"], "unreadable"]
        replayed = await rarebit("replay", old["id"])
        assert (await gateway.get(f"/jobs/{replayed.stdout.strip()}")).json()["request"] == old["request"]
        again = await rarebit("replay", old["id"])
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"rarebit: there is no job {old['id']} in quarantine\n"
