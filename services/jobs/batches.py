"""Batches: jobs submitted with one request, each taken or refused on its own."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from opentelemetry.trace import SpanKind

from services import tracing
from services.base_models import read_one
from services.errors import BatchNotFoundError
from services.jobs.accepted import AcceptedRequest
from services.jobs.answers import IDEMPOTENCY_MS, Found, Recorded, pairs, refuse, time_of
from services.jobs.request import BatchWebhook

FINISHED = "batch.finished"
Item = str | dict[str, Any]  # a job's id, or the problem that the client was told


@dataclass(frozen=True)
class Batch:
    """A batch as the store keeps it; `refused` jobs found the queue full, `jobs` lacks those that are erased.

    `sweep` has its axes, if it is one. Records of `unreadable` jobs cannot be read.
    """

    id: str
    created_at: datetime
    finished_at: datetime | None
    items: Sequence[Item]
    sweep: Sequence[dict[str, Any]]
    refused: frozenset[str]
    jobs: Mapping[str, Found]
    unreadable: frozenset[str]


@dataclass(frozen=True)
class SubmittedBatch:
    """The batch that answers a submission; `replayed` when its idempotency key had named it before."""

    batch: Batch
    replayed: bool


class Batches(Recorded):
    """What the gateway does with a tenant's batches. Every method raises redis-py's errors while Redis is away."""

    async def submit(
        self,
        requests: Sequence[AcceptedRequest | dict[str, Any]],
        *,
        sweep: Sequence[dict[str, Any]] = (),
        webhook: BatchWebhook | None = None,
        keep_s: int,
        max_queued: int,
        idempotency_key: str,
        body_hash: str,
    ) -> SubmittedBatch:
        """Record and queue, in one step, a job for every request; what stands for one instead is its problem.

        `keep_s` is for a batch without a job. Raises IdempotencyConflictError, and BatchNotFoundError for a
        key that was spent on a batch that is no more.
        """
        items: list[Item] = [uuid.uuid4().hex if isinstance(one, AcceptedRequest) else one for one in requests]
        jobs = [
            (item, one.model_dump_json(), 1000 * one.expires_in)
            for item, one in zip(items, requests, strict=True)
            if isinstance(one, AcceptedRequest)
        ]
        told = "" if webhook is None else json.dumps({"url": webhook.url, "events": [FINISHED]})
        arguments = (json.dumps(items), json.dumps(jobs), told, max_queued, 1000 * keep_s)
        key = (idempotency_key, body_hash, IDEMPOTENCY_MS)
        about: tracing.Attributes = {"rarebit.jobs": len(jobs), "rarebit.tenant": self._tenant}
        with tracing.span("submit", kind=SpanKind.PRODUCER, attributes=about):
            own = (*arguments, *key, tracing.traceparent(), json.dumps(list(sweep)))
            verdict, *answer = await self._call("submit_batch", uuid.uuid4().hex, *own)
        refuse(verdict, answer, max_queued)
        batch = await self._batch("of this idempotency key", answer[0])
        return SubmittedBatch(batch, replayed=verdict == "replayed")

    async def get(self, batch_id: str) -> Batch:
        """The batch and its jobs as they are. Raises BatchNotFoundError or UnreadableError."""
        return await self._batch(batch_id, await self._call("get_batch", batch_id))

    async def cancel(self, batch_id: str) -> Batch:
        """Cancel every job of it that has not ended. Raises BatchNotFoundError or UnreadableError."""
        return await self._batch(batch_id, await self._call("cancel_batch", batch_id))

    async def _batch(self, batch_id: str, view: Any) -> Batch:
        if not view:
            raise BatchNotFoundError(f"there is no batch {batch_id}")
        found, _, unreadable = await self._read_page((view[1], None))
        jobs = {record.id: (record, place) for record, place in found if not record.expired}
        return read_one("batch", batch_id, partial(_batch, jobs, frozenset(unreadable)), pairs(view[0]))


def _batch(jobs: Mapping[str, Found], unreadable: frozenset[str], fields: Mapping[str, str]) -> Batch:
    return Batch(
        id=fields["id"],
        created_at=time_of(fields["created_at"]),
        finished_at=time_of(fields["finished_at"]) if "finished_at" in fields else None,
        items=json.loads(fields["items"]),
        sweep=json.loads(fields.get("sweep", "[]")),
        refused=frozenset(json.loads(fields["refused"])),
        jobs=jobs,
        unreadable=unreadable,
    )
