"""A backup is taken while jobs come and run, all is erased, and restored elsewhere: every promise still holds."""

import hashlib
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
from standardwebhooks import Webhook as Signer

from deploy.local.stack.child import RAREBIT
from services.jobs.leases import Leases
from services.jobs.request import Webhook
from services.jobs.store import connect
from tests.faults.backup import copy_bucket, fill_bucket, save_redis
from tests.faults.rig import BUCKET, Rig, again_and_again, rig
from tests.faults.test_webhooks import HOOKS
from tests.receiver import SECRET, Receiver, receiving
from tests.servers import eventually, redis_binaries

PICTURE = Path(__file__).parents[2] / "docs/chair.webp"
BODY = {"concept": "chair", "steps": 1, "seed": 7}
STEP_S = "0.3"  # of a job of five steps that runs while Redis is saved


def ask(built: Rig, method: str, path: str, **options: object) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{built.gateways[-1].address}{path}", trust_env=False, **options)


def submit(built: Rig, key: str = "", **fields: object) -> str:
    answer = ask(built, "POST", "/jobs", json=BODY | fields, headers={"idempotency-key": key} if key else {})
    built.acknowledged.append(answer.raise_for_status().json()["id"])
    return built.acknowledged[-1]


def upload(built: Rig) -> str:
    picture = {"content": PICTURE.read_bytes(), "headers": {"content-type": "image/webp"}}
    return ask(built, "POST", "/images", **picture).raise_for_status().json()["id"]


def pictures(built: Rig, job_id: str) -> list[str]:
    """Digests of what a job's URLs lead to."""
    urls = [output["url"] for output in ask(built, "GET", f"/jobs/{job_id}").raise_for_status().json()["outputs"]]
    return [hashlib.sha256(httpx.get(url, trust_env=False).raise_for_status().content).hexdigest() for url in urls]


def reconcile(built: Rig, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*RAREBIT, "reconcile", "--json", *options]
    return subprocess.run(command, env=built.env, capture_output=True, text=True, check=False)


def lose(built: Rig, job_id: str) -> None:
    """A worker dies with the only job that waits."""
    with connect(built.env["RAREBIT_REDIS_URL"]) as client:
        assert Leases(client, worker="dying", lease_s=0).claim().id == job_id
        Leases(client, worker="living", lease_s=30).recover()


def freeze_in(built: Rig, job_id: str) -> None:
    """A worker stands still while it has the job, until all go on."""
    if not built.fleet.workers:
        built.fleet.start()
    assert eventually(lambda: built.record(job_id)["status"] == "running", 120)
    built.fleet.workers[-1].signal(signal.SIGSTOP)


def busy(built: Rig, receiver: Receiver) -> SimpleNamespace:
    """Jobs in every state, an upload, and a webhook that is owed."""
    hook = Webhook(url=receiver.url, events=["job.succeeded"])
    long = {"metadata": {"step_s": STEP_S}}
    quarantined = submit(built)
    for _ in range(2):
        lose(built, quarantined)
    suspect = submit(built, **long)
    lose(built, suspect)
    freeze_in(built, suspect)
    built.start_workers()
    done = {"owed": built.submit(webhook=hook), "keyed": submit(built, "first"), "erased": submit(built)}
    built.wait_for_end(*done.values())
    running = submit(built, trials=64, **long)
    freeze_in(built, running)
    queued, canceled, expiring = submit(built, count=2), submit(built), submit(built, expires_in=1)
    ask(built, "POST", f"/jobs/{canceled}/cancel").raise_for_status()
    states = {"quarantined": quarantined, "suspect": suspect, "running": running, "queued": queued}
    return SimpleNamespace(**done, **states, canceled=canceled, expiring=expiring, upload=upload(built))


@contextmanager
def restored(receiver: Receiver, folder: Path) -> Iterator[SimpleNamespace]:
    """The service of a backup in the folder, what was known before it, and what was made until all of it was lost."""
    binary = redis_binaries()["valkey"]
    with rig(binary, lease_s=30) as old:  # its frozen workers are not dead
        old.start_gateway()  # it sends no webhooks
        known = busy(old, receiver)
        before = list(old.acknowledged)
        with again_and_again(lambda: submit(old), lambda: 0.02):
            dump = save_redis(old.redis, folder)
            for worker in old.fleet.workers:
                worker.signal(signal.SIGCONT)
            ask(old, "DELETE", f"/jobs/{known.erased}").raise_for_status()
            orphan = upload(old)
            late = submit(old)
        old.wait_for_end(known.suspect, known.running, known.queued, late)
        made = {job_id: pictures(old, job_id) for job_id in (known.owed, known.suspect, known.running, known.queued)}
        objects = copy_bucket(old.bucket, BUCKET)
    with rig(binary, saved=dump) as new:
        fill_bucket(new.bucket, BUCKET, objects)
        new.acknowledged = before
        yield SimpleNamespace(new=new, known=known, late=late, orphan=orphan, made=made)


def test_every_promise_holds_in_what_is_restored(tmp_path):
    with receiving() as receiver, restored(receiver, tmp_path) as drill:
        new, known = drill.new, drill.known
        check_what_differs(drill)
        new.start_gateway(**HOOKS)
        new.start_workers(2)
        check_what_is_gone(drill)
        new.wait_for_end(*(job_id for job_id in new.acknowledged if job_id not in {known.erased, known.expiring}))
        assert {job_id: pictures(new, job_id) for job_id in drill.made} == drill.made
        assert new.record(known.quarantined)["status"] == "failed"
        assert new.record(known.canceled)["status"] == "canceled"
        assert ask(new, "GET", f"/images/{known.upload}").status_code == 200
        assert submit(new, "first") == known.keyed
        assert eventually(lambda: receiver.got != [], 20)
        payload = Signer(SECRET).verify(receiver.got[0].body, receiver.got[0].headers)
        assert (payload["type"], payload["data"]["id"]) == ("job.succeeded", known.owed)


def check_what_differs(drill: SimpleNamespace) -> None:
    """Told, then settled."""
    new, known = drill.new, drill.known
    found = json.loads(reconcile(new, "--apply").stdout)
    assert set(found["running"]) == {known.suspect, known.running}
    assert found["missing"] == [f"jobs/{known.erased}/"]
    assert {f"jobs/{drill.late}/", f"uploads/{drill.orphan}/", f"jobs/{known.queued}/1/"} <= set(found["unnamed"])
    assert json.loads(reconcile(new).stdout) == {"running": [], "unnamed": [], "missing": found["missing"]}


def check_what_is_gone(drill: SimpleNamespace) -> None:
    """What came after the snapshot is unknown, what was erased after it or has expired is told as such."""
    new, known = drill.new, drill.known
    assert ask(new, "GET", f"/jobs/{drill.late}").status_code == 404
    for job_id in (known.erased, known.expiring):
        assert eventually(lambda job_id=job_id: ask(new, "GET", f"/jobs/{job_id}").status_code == 410)
