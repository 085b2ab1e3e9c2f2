"""Batches: jobs submitted with one request, each taken or refused on its own."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.calls import Tenanted
from services.errors import BatchNotFoundError
from services.job_request import JobRequest
from services.jobs import IDEMPOTENCY_MS, refuse
from services.records import Found, pairs, read_view, time_of
from services.webhooks import BatchWebhook

FINISHED = "batch.finished"
Item = str | dict[str, Any]  # a job's id, or the problem that the client was told


@dataclass(frozen=True)
class Batch:
    """A batch as the store keeps it; `refused` jobs found the queue full, `jobs` lacks those that are erased."""

    id: str
    created_at: datetime
    finished_at: datetime | None
    items: Sequence[Item]
    refused: frozenset[str]
    jobs: Mapping[str, Found]


@dataclass(frozen=True)
class SubmittedBatch:
    """The batch that answers a submission; `replayed` when its idempotency key had named it before."""

    batch: Batch
    replayed: bool


class Batches(Tenanted):
    """What the gateway does with a tenant's batches. Every method raises redis-py's errors while Redis is away."""

    async def submit(
        self,
        requests: Sequence[JobRequest | dict[str, Any]],
        *,
        webhook: BatchWebhook | None = None,
        keep_s: int,
        max_queued: int,
        idempotency_key: str,
        body_hash: str,
    ) -> SubmittedBatch:
        """Record and queue, in one step, a job for every request; what stands for one instead is its problem.

        `keep_s` is for requests without an `expires_in`. Raises IdempotencyConflictError, and BatchNotFoundError for a
        key that was spent on a batch that is no more.
        """
        items: list[Item] = [uuid.uuid4().hex if isinstance(one, JobRequest) else one for one in requests]
        jobs = [
            (item, one.model_dump_json(), 1000 * (one.expires_in or keep_s))
            for item, one in zip(items, requests, strict=True)
            if isinstance(one, JobRequest)
        ]
        told = "" if webhook is None else json.dumps({"url": webhook.url, "events": [FINISHED]})
        arguments = (json.dumps(items), json.dumps(jobs), told, max_queued, 1000 * keep_s)
        key = (idempotency_key, body_hash, IDEMPOTENCY_MS)
        verdict, *answer = await self._call("submit_batch", uuid.uuid4().hex, *arguments, *key)
        refuse(verdict, answer, max_queued)
        return SubmittedBatch(_read("of this idempotency key", answer[0]), replayed=verdict == "replayed")

    async def get(self, batch_id: str) -> Batch:
        """The batch and its jobs as they are. Raises BatchNotFoundError."""
        return _read(batch_id, await self._call("get_batch", batch_id))

    async def cancel(self, batch_id: str) -> Batch:
        """Cancel every job of it that has not ended. Raises BatchNotFoundError."""
        return _read(batch_id, await self._call("cancel_batch", batch_id))


def _read(batch_id: str, view: Any) -> Batch:
    if not view:
        raise BatchNotFoundError(f"there is no batch {batch_id}")
    fields, views = pairs(view[0]), view[1]
    found = [read_view(one) for one in views if isinstance(one, list)]
    return Batch(
        id=fields["id"],
        created_at=time_of(fields["created_at"]),
        finished_at=time_of(fields["finished_at"]) if "finished_at" in fields else None,
        items=json.loads(fields["items"]),
        refused=frozenset(json.loads(fields["refused"])),
        jobs={record.id: (record, place) for record, place in found if not record.expired},
    )
