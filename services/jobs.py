"""The job store: records, leases and states in Redis; `jobs.lua` has the operations, each of them atomic.

The gateway holds `Jobs` (asyncio), the worker `Leases`. Claiming a job makes its attempt number the fencing token of
every later write: a write of an attempt that is no longer current raises LeaseLostError and changes nothing.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import redis.asyncio
from pydantic import TypeAdapter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from services.durability import require_durable
from services.errors import (
    IdempotencyConflictError,
    JobExpiredError,
    JobNotFoundError,
    LeaseLostError,
    QueueFullError,
)
from services.exposure import View
from services.queue import hint
from services.records import Event, Page, pairs, read_page, read_record, read_view
from services.redis_url import open_client, open_client_async
from services.schemas import (
    TRANSITIONS,
    JobError,
    JobRecord,
    JobRequest,
    JobStatus,
    Metrics,
    Progress,
    QueuePlace,
    StoredOutput,
)

History = list[View]  # oldest first, each output once

IDEMPOTENCY_MS = 24 * 3600 * 1000
TOMBSTONE_MS = 30 * 24 * 3600 * 1000
SLOT = "{rarebit}"
CALLS = 50  # at once: half of the connections that redis-py's pool has, which others share
_OUTPUTS = TypeAdapter(list[StoredOutput])
_VIEWS = TypeAdapter(list[View])
_LOST = JobError(code="worker_lost", title="The worker died", detail="Two workers in a row died with this job.")
_LATE = JobError(code="start_deadline", title="The job waited too long", detail="No worker began within start_within.")
_CONNECTION: dict[str, Any] = {"decode_responses": True, "socket_connect_timeout": 2, "socket_timeout": 5}


def connect(url: str) -> redis.Redis:
    """The worker's client: one immediate retry mends a connection that a restart broke, then redis-py's errors."""
    return open_client(url, retry=Retry(NoBackoff(), 1), **_CONNECTION)


def connect_async(url: str) -> redis.asyncio.Redis:
    """The gateway's client, with the same limits."""
    return open_client_async(url, retry=redis.asyncio.retry.Retry(NoBackoff(), 1), **_CONNECTION)


def script() -> str:
    """`jobs.lua` with the three values that it needs from here."""
    transitions, late = json.dumps(TRANSITIONS), json.dumps({"error": _LATE.model_dump()})
    head = f"local TRANSITIONS = cjson.decode([==[{transitions}]==])\nlocal HINT = [==[{hint()}]==]\n"
    return f"{head}local LATE = [==[{late}]==]\n" + Path(__file__).with_name("jobs.lua").read_text()


@dataclass(frozen=True)
class Submitted:
    """The job that answers a submission; `replayed` when its idempotency key had named it before."""

    id: str
    replayed: bool


class Jobs:
    """What the gateway does with jobs. Every method raises redis-py's errors while Redis is away."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._script = client.register_script(script())
        self._calls = asyncio.Semaphore(CALLS)

    async def _call(self, operation: str, *arguments: str | int) -> Any:
        async with self._calls:
            return await self._script(keys=[SLOT], args=[operation, *arguments])

    async def check(self) -> None:
        """Return when Redis answers; StoreUnsafeError when it is set up to lose jobs."""
        require_durable(await self._client.info())

    async def submit(
        self,
        request: JobRequest,
        *,
        keep_s: int,
        max_queued: int,
        idempotency_key: str = "",
        body_hash: str = "",
    ) -> Submitted:
        """Record the job, queue it and spend the key, or do none of it.

        Raises QueueFullError, and IdempotencyConflictError for a key that was spent on another body.
        """
        new = uuid.uuid4().hex
        arguments = (request.model_dump_json(), keep_s * 1000, max_queued, idempotency_key, body_hash, IDEMPOTENCY_MS)
        verdict, job_id = await self._call("submit", new, *arguments)
        if verdict == "full":
            raise QueueFullError(f"{max_queued} jobs are waiting, no more are taken; try again later")
        if verdict == "conflict":
            raise IdempotencyConflictError("the idempotency key was used before with another body")
        return Submitted(job_id, replayed=verdict == "replayed")

    async def key_is_spent(self, idempotency_key: str) -> bool:
        """Whether a submission with this key has made a job."""
        return bool(await self._call("key_is_spent", idempotency_key))

    async def get(self, job_id: str) -> tuple[JobRecord, QueuePlace | None]:
        """The record, and the place in the queue while it waits. Raises JobNotFoundError or JobExpiredError."""
        view = await self._call("get", job_id)
        if not isinstance(view, list):
            raise _absent(job_id, gone=bool(view))
        record, place = read_view(view)
        if record.expired:
            raise _absent(job_id, gone=True)
        return record, place

    async def list(self, *, status: JobStatus | None, before: int | None, limit: int) -> Page:
        """Up to `limit` jobs, newest first, from the cursor `before`; with the next cursor, if there are more."""
        chosen = f"status:{status}" if status else "jobs"
        return read_page(await self._call("list", chosen, "+inf" if before is None else before, limit + 1), limit)

    async def cancel(self, job_id: str) -> JobStatus:
        """Cancel a queued job, ask a running one to stop, leave a final one. Raises JobNotFoundError."""
        status = await self._call("cancel", job_id)
        if status is None:
            raise _absent(job_id, gone=False)
        return JobStatus(status)

    async def delete(self, job_id: str, *, sweep_after_s: int) -> None:
        """Forget the record; whoever runs the job finds its next write refused, and what it stored is `due` later."""
        await self._call("delete", job_id, sweep_after_s * 1000)

    async def views(self, exposure: str) -> History:
        """The history of the exposure key, in the order of being seen; empty for a key that was never used."""
        return _read_history(await self._call("history", _name(exposure)))

    async def add_views(self, exposure: str, views: Sequence[View]) -> None:
        """Add to the history, or judge anew what is in it: an output counts once and keeps its place."""
        await self._call("see", _name(exposure), _write_views(views))

    async def forget(self, exposure: str) -> None:
        """Erase the history of the exposure key."""
        await self._call("forget", _name(exposure))

    async def events(self, job_id: str, after: str) -> Sequence[Event]:
        """Some of what happened after the event with the id `after` ("0-0": from the first), the oldest first."""
        found = await self._call("events", job_id, after)
        return [Event(event_id, **pairs(flat)) for event_id, flat in found]


@dataclass(frozen=True)
class Claim:
    """A job that this worker runs: the request, the number of the attempt, and how long earlier ones have run.

    `savepoint` is the object that says where an earlier attempt stood, if one got so far.
    """

    id: str
    attempt: int
    request: JobRequest
    created_at: datetime
    queue_ms: int
    ran_ms: int
    savepoint: str | None


class Leases:
    """What a worker does with jobs. A lease lasts `lease_s` seconds and is renewed by the worker while it runs."""

    def __init__(self, client: redis.Redis, *, worker: str, lease_s: float) -> None:
        self._script = client.register_script(script())
        self._worker = worker
        self._lease_ms = int(lease_s * 1000)
        self._seen_ms = 0
        self._unanswered: list[str] = []

    def _call(self, operation: str, *arguments: str | int) -> Any:
        return self._script(keys=[SLOT], args=[operation, *arguments])

    def _fenced(self, operation: str, claim: Claim, *arguments: str | int) -> JobStatus:
        status = self._call(operation, claim.id, claim.attempt, *arguments)
        if status is None:
            raise _lost(claim)
        return JobStatus(status)

    def claim(self) -> Claim | None:
        """Lease the job that has waited longest; None when none waits.

        After a claim whose answer was lost, the same job again: Redis may have given it to us.
        """
        token = self._unanswered.pop() if self._unanswered else uuid.uuid4().hex
        try:
            flat = self._call("claim", self._worker, self._lease_ms, token)
        except RedisError:
            self._unanswered.append(token)
            raise
        if flat is None:
            return None
        fields = pairs(flat)
        record = read_record(fields)
        queue_ms, ran_ms = int(fields["queue_ms"]), int(fields.get("ran_ms", 0))
        savepoint = fields.get("savepoint")
        return Claim(record.id, record.attempt, record.request, record.created_at, queue_ms, ran_ms, savepoint)

    def renew(self, claim: Claim) -> JobStatus:
        """Lengthen the lease; `canceling` says that the job is to stop."""
        return self._fenced("renew", claim, self._lease_ms)

    def progress(self, claim: Claim, progress: Progress) -> JobStatus:
        """Publish how far the attempt is; `canceling` says that it is to stop."""
        return self._fenced("progress", claim, progress.model_dump_json())

    def name_savepoint(self, claim: Claim, key: str) -> str:
        """Let the object `key` be what a next attempt goes on from; answers with the key that it replaces, or ""."""
        before: str | None = self._call("savepoint", claim.id, claim.attempt, key)
        if before is None:
            raise _lost(claim)
        return before

    def succeed(
        self,
        claim: Claim,
        outputs: Sequence[StoredOutput],
        warnings: Sequence[str],
        metrics: Metrics,
        views: Sequence[View] = (),
    ) -> JobStatus:
        """Publish the outputs, and with them the views in the history of the request's exposure key, if it has one.

        Answers `canceled`, and publishes nothing, when a cancel came first.
        """
        result = {"outputs": _OUTPUTS.dump_python(list(outputs), mode="json"), "warnings": list(warnings)}
        arguments = [json.dumps(result), metrics.model_dump_json()]
        if claim.request.exposure is not None:
            arguments += [_name(claim.request.exposure), _write_views(views)]
        return self._fenced("finish", claim, JobStatus.SUCCEEDED, *arguments)

    def fail(self, claim: Claim, error: JobError, metrics: Metrics) -> JobStatus:
        """End the job with an error, or canceled when that was asked for before."""
        result = {"error": error.model_dump()}
        return self._fenced("finish", claim, JobStatus.FAILED, json.dumps(result), metrics.model_dump_json())

    def end_canceled(self, claim: Claim, metrics: Metrics) -> JobStatus:
        """Confirm a cancel: from `canceling` to `canceled`."""
        return self._fenced("finish", claim, JobStatus.CANCELED, "{}", metrics.model_dump_json())

    def hand_back(self, claim: Claim) -> JobStatus:
        """Put the job back to where it waited, for another worker; a cancel asked for meanwhile takes effect."""
        return self._fenced("hand_back", claim)

    def recover(self) -> list[str]:
        """Say that this worker lives; re-queue jobs of dead ones (or fail them) and jobs without a hint.

        The first call after an outage of Redis recovers nothing, so that those who outlived it can renew their leases.
        """
        lost = json.dumps({"error": _LOST.model_dump()})
        ids: list[str]
        self._seen_ms, ids = self._call("recover", self._worker, lost, self._seen_ms, self._lease_ms)
        return ids

    def waiting(self) -> int:
        """How many jobs are queued."""
        count: int = self._call("waiting")
        return count

    def find(self, job_id: str) -> JobRecord | None:
        """The record; None where there is none, or its outputs are erased or about to be."""
        view = self._call("get", job_id)
        record = read_view(view)[0] if isinstance(view, list) else None
        return None if record is None or record.expired else record

    def views(self, exposure: str) -> History:
        """The history of the exposure key, in the order of being seen."""
        return _read_history(self._call("history", _name(exposure)))

    def due(self) -> list[str]:
        """Prefixes of the object store to be erased, expired ones above all; erase each, then `bury` it."""
        prefixes: list[str] = self._call("due")
        return prefixes

    def bury(self, prefix: str) -> None:
        """Replace the record of the job or upload, if there is one, by a tombstone: "expired" instead of "unknown"."""
        self._call("bury", prefix, TOMBSTONE_MS)


def _lost(claim: Claim) -> LeaseLostError:
    return LeaseLostError(f"attempt {claim.attempt} of job {claim.id} is no longer the current one")


def _absent(job_id: str, *, gone: bool) -> JobNotFoundError | JobExpiredError:
    if gone:
        return JobExpiredError(f"job {job_id} has expired, its outputs are erased")
    return JobNotFoundError(f"there is no job {job_id}")


def _name(exposure: str) -> str:
    """What stands for an exposure key in Redis: of bounded length, and nobody's address in plain sight."""
    return hashlib.sha256(exposure.encode()).hexdigest()


def _write_views(views: Sequence[View]) -> str:
    return _VIEWS.dump_json(list(views)).decode()


def _read_history(history: Sequence[str]) -> History:
    return [View.model_validate_json(view) for view in history]
