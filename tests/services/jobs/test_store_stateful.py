"""Whatever happens in whatever order: each object is named by a record or by a planned erasure."""

import asyncio
import shutil
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings as limits
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run

from api.pictures import Upload, Uploads
from services.bounds import Bounds
from services.errors import JobExpiredError, LeaseLostError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.record import Metrics
from services.jobs.store import connect, connect_async
from services.objects.keys import (
    DENSITIES,
    attempt_prefix,
    job_prefix,
    output_key,
    savepoint_key,
    upload_key,
    upload_prefix,
)
from services.objects.storage import LocalStorage
from tests.services.jobs.moves import ERROR, REQUEST, output

DATA = "application/octet-stream"


class Store(RuleBasedStateMachine):
    """A worker stores until it has ended its attempt, whatever has become of the job; anybody may stop between steps.

    What is erased by hand is erased in two steps, the record and then the objects, and the second may be left out.
    """

    redis_url, folder = "", Path()
    jobs, claims, pictures, fits = Bundle("jobs"), Bundle("claims"), Bundle("pictures"), Bundle("fits")
    uploads = Bundle("uploads")

    def __init__(self):
        super().__init__()
        self.client = connect(self.redis_url)
        self.client.flushall()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.storage = LocalStorage(self.folder, signing_key="k" * 32, public_url="")
        self.loop = asyncio.Runner()
        self.async_client = connect_async(self.redis_url)
        self.gateway, self.gateway_uploads = Jobs(self.async_client), Uploads(self.async_client)
        bounds = Bounds(densities=1)
        self.leases = Leases(self.client, worker="w", lease_s=60, bounds=bounds)
        self.dead = Leases(self.client, worker="d", lease_s=0, bounds=bounds)
        self.taken = []  # no bundle: how many there are is a matter of milliseconds

    def teardown(self):
        self.loop.run(self.async_client.aclose())
        self.loop.close()
        self.client.close()

    @rule(target=jobs, keep_s=st.sampled_from([0, 60]))
    def submit(self, keep_s):
        return self.loop.run(self.gateway.submit(REQUEST, keep_s=keep_s, max_queued=99)).id

    @rule(target=jobs)
    def submit_what_expires_at_once(self):
        job_id = self.submit(keep_s=0)
        self.cancel(job_id)
        return job_id

    @rule(target=claims, dies=st.booleans())
    def claim(self, dies):
        return (self.dead if dies else self.leases).claim() or multiple()

    @rule(target=claims)
    def lose_a_run_to_a_cancel(self):
        self.submit(keep_s=0)
        if not (claim := self.dead.claim()):
            return multiple()
        self.cancel(claim.id)
        self.leases.recover()
        return claim

    @rule(claim=claims)
    def store_an_output(self, claim):
        self.storage.put(output_key(claim.id, claim.attempt, 0, "png"), b"", DATA)

    @rule(claim=claims, number=st.integers(0, 2), named=st.booleans())
    def store_a_savepoint(self, claim, number, named):
        key = savepoint_key(claim.id, claim.attempt, number)
        self.storage.put(key, b"", DATA)
        try:
            if named:
                self.leases.name_savepoint(claim, key)
        except LeaseLostError:
            self.storage.delete(key.rpartition("/")[0] + "/")

    @rule(claim=consumes(claims), write=st.sampled_from(["succeed", "fail", "hand_back", "die"]), at_once=st.booleans())
    def end(self, claim, write, at_once):
        stored = output(output_key(claim.id, claim.attempt, 0, "png"))
        arguments = {"succeed": ([stored], [], Metrics()), "fail": (ERROR, Metrics())}.get(write, ())
        try:
            if write != "die":
                getattr(self.leases, write)(claim, *arguments)
        except LeaseLostError:
            if at_once:
                self.storage.delete(attempt_prefix(claim.id, claim.attempt))

    @rule()
    def recover(self):
        self.leases.recover()

    @rule(job_id=jobs)
    def cancel(self, job_id):
        with suppress(JobExpiredError):
            self.loop.run(self.gateway.cancel(job_id))

    @rule(job_id=consumes(jobs), at_once=st.booleans())
    def delete(self, job_id, at_once):
        self.loop.run(self.gateway.delete(job_id))
        if at_once:
            self.storage.delete(job_prefix(job_id))

    @rule(target=uploads)
    def record_an_upload(self):
        kept = Upload(id=uuid.uuid4().hex, width=1, height=1, bytes=1, sha256="", expires_at=datetime.now(UTC))
        self.loop.run(self.gateway_uploads.add(kept))
        return kept.id

    @rule(upload_id=uploads)
    def store_an_upload(self, upload_id):
        self.storage.put(upload_key(upload_id), b"", DATA)

    @rule(upload_id=uploads, at_once=st.booleans())
    def delete_an_upload(self, upload_id, at_once):
        self.loop.run(self.gateway_uploads.delete(upload_id))
        if at_once:
            self.storage.delete(upload_prefix(upload_id))

    @rule(target=fits, job_id=jobs)
    def begin_to_fit_around_an_output(self, job_id):
        self.leases.lend(job_prefix(job_id))
        return f"{job_prefix(job_id)}{DENSITIES}k/density.json"

    @rule(target=fits, upload_id=uploads)
    def begin_to_fit_around_an_upload(self, upload_id):
        self.leases.lend(upload_prefix(upload_id))
        return f"{upload_prefix(upload_id)}{DENSITIES}k/density.json"

    @rule(target=fits, text=st.sampled_from("ab"))
    def begin_to_fit_a_text(self, text):
        self.leases.use_density(f"{DENSITIES}{text}")
        return f"{DENSITIES}{text}/density.json"

    @rule(key=consumes(fits))
    def store_a_fit(self, key):
        self.storage.put(key, b"", DATA)

    @rule()
    def take_erasures(self):
        self.taken += self.leases.take_erasures()

    @rule(pick=st.integers(0, 99))
    def finish_an_erasure(self, pick):
        if self.taken:
            self.erase(self.taken[pick % len(self.taken)])

    def erase(self, erasure):
        self.storage.delete(erasure.prefix)
        self.leases.end_erasure(erasure)

    @rule()
    def sweep(self):
        while erasures := self.leases.take_erasures():
            for erasure in erasures:
                self.erase(erasure)

    @rule(pick=st.integers(0, 99))
    def put_off(self, pick):
        if self.taken:
            self.leases.put_off(self.taken[pick % len(self.taken)])

    @invariant()
    def everything_has_an_end(self):
        planned = self.client.zrange("{rarebit}:expiry", 0, -1)
        for path in self.folder.rglob("*"):
            key = str(path.relative_to(self.folder))
            if path.is_file():
                assert any(key.startswith(prefix) for prefix in planned) or self.is_named(key), key

    def is_named(self, key):
        kind, owner, *_ = key.split("/")
        if kind == "jobs":
            return self.client.hget(f"{{rarebit}}:job:{owner}", "status") in {"queued", "running", "canceling"}
        return kind == "densities" and self.client.zscore("{rarebit}:densities", f"densities/{owner}") is not None


def test_each_object_is_named_by_a_record_or_by_a_planned_erasure(redis_url, tmp_path):
    Store.redis_url, Store.folder = redis_url, tmp_path / "objects"
    run(Store, settings=limits(max_examples=150, stateful_step_count=30, deadline=None))
