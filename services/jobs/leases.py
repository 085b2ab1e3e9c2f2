"""What a worker does with jobs: claim one, renew, publish and end it, and recover those of dead workers.

Claiming a job makes its attempt number the fencing token of every later write: a write of an attempt that is no longer
current raises LeaseLostError and changes nothing.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import redis.asyncio
from redis.exceptions import OutOfMemoryError, RedisError

from services.bounds import DEFAULT_MODEL, DEFAULTS, Bounds
from services.density_models import FACTS, DensityFacts, name_of_model
from services.errors import LeaseLostError, UnreadableError
from services.exposure import View
from services.jobs.accepted import AcceptedRequest
from services.jobs.answers import pairs, read_record, read_view, time_of, write_outputs
from services.jobs.figures import counts_of
from services.jobs.record import (
    JobError,
    JobKind,
    JobRecord,
    JobStatus,
    Metrics,
    Preview,
    Progress,
    StoredOutput,
    TrialProgress,
    WatchedProgress,
)
from services.jobs.store import EVERYBODY, Operations, Views, name_of, read_views, write_views

TOMBSTONE_MS = 30 * 24 * 3600 * 1000
ERASURES = 16  # taken at once
ERASURE_LEASE_MS = 300_000  # longer than it takes to find out that the store is away, that many times
_LOST = JobError(code="worker_lost", title="The worker died", detail="Two workers in a row died with this job.")
_UNREADABLE = JobError(
    code=UnreadableError.code,
    title=UnreadableError.title,
    detail="It is damaged, or written by a version of the service that this worker cannot read.",
)


@dataclass(frozen=True)
class Claim:
    """A job that this worker runs: the request, the number of the attempt, and how long earlier ones have run.

    `savepoint` is the object that says where an earlier attempt stood, if one got so far.
    """

    id: str
    tenant: str
    kind: JobKind
    attempt: int
    request: AcceptedRequest
    created_at: datetime
    queue_ms: int
    ran_ms: int
    savepoint: str | None
    queued_at: datetime | None = None
    """When it was put back, if an earlier attempt has had it."""
    traceparent: str = ""
    suspect: bool = False
    """A worker died with it: whoever claims it runs nothing beside it."""


class AloneError(Exception):
    """The next job is suspect, and this worker is busy."""


@dataclass(frozen=True)
class Erasure:
    """A prefix of the object store that this worker is to erase; `token` fences the report of it."""

    prefix: str
    token: str


class Leases:
    """What a worker does with jobs of its `model`. A lease lasts `lease_s` seconds and is renewed while a job runs.

    With `adopts_unnamed`, jobs of before there were models are its model's, too.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        worker: str,
        lease_s: float,
        bounds: Bounds = DEFAULTS,
        model: str = DEFAULT_MODEL,
        adopts_unnamed: bool = False,
    ) -> None:
        self._operations = Operations(client)
        self._worker, self._model, self._adopts = worker, model, adopts_unnamed
        self._bounds = bounds
        self._lease_ms = int(lease_s * 1000)
        self._seen_ms = 0
        self._unanswered: list[str] = []

    def _call(self, operation: str, *arguments: str | int) -> Any:
        return self._operations(operation, EVERYBODY, *arguments)

    def _fenced(self, operation: str, claim: Claim, *arguments: str | int) -> JobStatus:
        status = self._call(operation, claim.id, claim.attempt, *arguments)
        if status is None:
            raise _lost(claim)
        return JobStatus(status)

    def claim(self, *, busy: bool = False) -> Claim | None:
        """Lease the job that has waited longest; None when none waits. One that cannot be read is quarantined instead.

        After a claim whose answer was lost, the same job again: Redis may have given it to us. Raises AloneError to
        who is `busy` with other jobs.
        """
        while (flat := self._next(busy)) is not None:
            if not flat:
                raise AloneError
            fields = pairs(flat)
            try:
                return _claim(fields)
            except UnreadableError as error:
                unreadable = json.dumps({"error": _UNREADABLE.model_dump()})
                self._call("give_up", error.id, fields["attempt"], unreadable)
        return None

    def _next(self, busy: bool) -> Sequence[str] | None:
        token = self._unanswered.pop() if self._unanswered else uuid.uuid4().hex
        try:
            flat: Sequence[str] | None = self._call(
                "claim", self._worker, self._model, self._lease_ms, token, int(busy)
            )
        except RedisError:
            self._unanswered.append(token)
            raise
        return flat

    def renew(self, claim: Claim) -> JobStatus:
        """Lengthen the lease; `canceling` says that the job is to stop."""
        return self._fenced("renew", claim, self._lease_ms)

    def progress(
        self, claim: Claim, progress: Progress, trials: Sequence[TrialProgress] = ()
    ) -> tuple[JobStatus, bool]:
        """Publish how far the attempt is, its trials in the event only.

        Answers with the status, where `canceling` says that it is to stop, and whether somebody asks for previews. A
        Redis that has no memory left for the step answers with the status alone.
        """
        event = WatchedProgress(**progress.model_dump(), trials=list(trials))
        documents = progress.model_dump_json(), event.model_dump_json()
        try:
            answer = self._call("progress", claim.id, claim.attempt, *documents)
        except OutOfMemoryError:
            return self.renew(claim), False
        if answer is None:
            raise _lost(claim)
        status, watched = answer
        return JobStatus(status), bool(watched)

    def show(self, claim: Claim, preview: Preview) -> JobStatus:
        """Let those who ask for previews see this one, in place of the one before."""
        return self._fenced("show", claim, preview.model_dump_json())

    def name_savepoint(self, claim: Claim, key: str) -> str:
        """Let the object `key` be what a next attempt goes on from; answers with the key that it replaces, or ""."""
        before: str | None = self._call("savepoint", claim.id, claim.attempt, key)
        if before is None:
            raise _lost(claim)
        return before

    def serve(self, family: str, preloaded: Sequence[DensityFacts]) -> None:
        """Say of which family this worker's densities are, and which of them everybody has without asking."""
        own = [self._own(density) for density in preloaded]
        self._call("serve", self._model, family, FACTS.dump_json(own).decode())

    def use_density(self, key: str) -> None:
        """Say that the density of a text is used, or about to be stored, at `key`."""
        self._call("use_density", key, self._bounds.densities)

    def lend(self, picture: str) -> None:
        """Say that the density of a picture's variations is about to be stored below its prefix."""
        self._call("lend", picture)

    def name_density(self, claim: Claim, density: DensityFacts, *, listed: bool) -> JobStatus:
        """Say which density the job has; with `listed`, let it be among its tenant's density models."""
        name, facts = name_of_model(density.concept, density.prompt, self._model), self._own(density)
        return self._fenced("name_density", claim, density.key, *([name, facts.model_dump_json()] if listed else []))

    def _own(self, density: DensityFacts) -> DensityFacts:
        return density.model_copy(update={"model": self._model})

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
        written, replay = write_outputs(outputs)
        result = {"outputs": written, "warnings": list(warnings)}
        more: list[str | int] = [replay]
        if claim.request.exposure is not None:
            more += write_views(claim.tenant, claim.request.exposure, views, self._bounds)
        counts = counts_of(metrics, outputs, None if claim.request.found else claim.request.rarity.target_bits)
        return self._finish(claim, JobStatus.SUCCEEDED, result, metrics, counts, *more)

    def fail(self, claim: Claim, error: JobError, metrics: Metrics) -> JobStatus:
        """End the job with an error, or canceled when that was asked for before."""
        return self._finish(claim, JobStatus.FAILED, {"error": error.model_dump()}, metrics)

    def end_canceled(self, claim: Claim, metrics: Metrics) -> JobStatus:
        """Confirm a cancel: from `canceling` to `canceled`."""
        return self._finish(claim, JobStatus.CANCELED, {}, metrics)

    def _finish(
        self,
        claim: Claim,
        status: JobStatus,
        result: Mapping[str, Any],
        metrics: Metrics,
        counts: Mapping[str, int] = MappingProxyType({}),
        *more: str | int,
    ) -> JobStatus:
        documents = json.dumps(result), metrics.model_dump_json(), json.dumps(dict(counts))
        return self._fenced("finish", claim, status, *documents, *more)

    def hand_back(self, claim: Claim) -> JobStatus:
        """Put the job back to where it waited, for another worker; a cancel asked for meanwhile takes effect."""
        return self._fenced("hand_back", claim)

    def recover(
        self, counts: Mapping[str, int] = MappingProxyType({}), device_memory: float | None = None
    ) -> list[str]:
        """Say that this worker lives; re-queue jobs of dead ones (or fail them) and jobs without a hint.

        `counts` are added to the model's counters; `device_memory` is the share of it that this worker has had in use.
        The first call after an outage of Redis recovers nothing, so that those who outlived it can renew their leases.
        """
        lost, used = json.dumps({"error": _LOST.model_dump()}), "" if device_memory is None else f"{device_memory:.4f}"
        told = json.dumps(dict(counts)), used, int(self._adopts)
        ids: list[str]
        own = self._worker, self._model, lost, self._seen_ms, self._lease_ms
        self._seen_ms, ids = self._call("recover", *own, *told)
        return ids

    def waiting(self) -> int:
        """How many jobs a worker of this model could take now."""
        count: int = self._call("waiting", self._model)
        return count

    def find(self, job_id: str) -> JobRecord | None:
        """The record as pages have it, whoever's it is; None where there is none, or its outputs are erased or to be.

        Raises UnreadableError.
        """
        view = self._call("find", job_id)
        record = None if view is None else read_view(view)[0]
        return None if record is None or record.expired else record

    def views(self, tenant: str, exposure: str) -> Views:
        """The history of the tenant's exposure key, in the order of being seen."""
        return read_views(self._call("history", name_of(tenant, exposure)))

    def take_erasures(self) -> list[Erasure]:
        """Prefixes of the object store that are due to be erased, for this worker alone until a lease ends.

        Erase each, then `end_erasure`, or else `put_off`.
        """
        token, prefixes = self._call("take_erasures", ERASURES, ERASURE_LEASE_MS)
        return [Erasure(prefix, token) for prefix in prefixes]

    def end_erasure(self, erasure: Erasure) -> None:
        """Replace the record of the job or upload, if there is one, by a tombstone: "expired" instead of "unknown"."""
        self._call("end_erasure", erasure.prefix, erasure.token, TOMBSTONE_MS)

    def put_off(self, erasure: Erasure) -> None:
        """Have what could not be erased tried again, after a pause that grows with each failure."""
        self._call("put_off", erasure.prefix, erasure.token)


def _claim(fields: dict[str, str]) -> Claim:
    record = read_record(fields["id"], fields)
    return Claim(
        id=record.id,
        tenant=fields["tenant"],
        kind=record.kind,
        attempt=record.attempt,
        request=record.request,
        created_at=record.created_at,
        queue_ms=int(fields["queue_ms"]),
        ran_ms=int(fields.get("ran_ms", 0)),
        savepoint=fields.get("savepoint"),
        queued_at=time_of(fields["queued_at"]) if "queued_at" in fields else None,
        traceparent=fields.get("traceparent", ""),
        suspect="losses" in fields,
    )


def _lost(claim: Claim) -> LeaseLostError:
    return LeaseLostError(f"attempt {claim.attempt} of job {claim.id} is no longer the current one")
