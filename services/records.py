"""The job store's answers as records: what a job's hash in Redis says, and when a waiting job may start."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from services.job_request import JobRequest
from services.schemas import Eta, JobRecord, QueuePlace

Found = tuple[JobRecord, QueuePlace | None]  # a job, and its place in the queue while it waits
Page = tuple[list[Found], int | None]  # jobs, newest first, and the next cursor


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: `kind` is status, progress or output, `data` JSON, `id` the stream's."""

    id: str
    kind: str
    data: str


_EPOCH = datetime.fromtimestamp(0, UTC)
_TIMES = ("created_at", "started_at", "finished_at", "expires_at")


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """A hash as Lua answers with it: its fields and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_view(view: Sequence[Any]) -> Found:
    """The record, and the place in the queue while it waits, of `view` in jobs.lua."""
    return read_record(pairs(view[0])), read_place(view[1:])


def read_place(place: Sequence[Sequence[int]]) -> QueuePlace | None:
    """What `place` in queue.lua says, as the rest of an answer that has none once the job waits no more."""
    if not place:
        return None
    position, *eta_ms = place[0]
    p50_p90 = [round(ms / 1000, 1) for ms in eta_ms]
    return QueuePlace(position=position, eta_seconds=Eta(p50=p50_p90[0], p90=p50_p90[1]) if p50_p90 else None)


def time_of(ms: str) -> datetime:
    """A time as the store keeps it: milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=int(ms))


def read_page(views: Sequence[Any], limit: int) -> Page:
    """The first `limit` of the views, with a cursor when there are more."""
    cursor = int(pairs(views[limit - 1][0])["seq"]) if len(views) > limit else None
    return [read_view(view) for view in views[:limit]], cursor


def read_record(fields: dict[str, str]) -> JobRecord:
    """The record as its hash has it: times in ms, documents as JSON; absent fields have not happened yet."""
    document: dict[str, Any] = {name: fields[name] for name in ("id", "status", "attempt")}
    document |= {name: fields[name] for name in ("kind", "density") if name in fields}
    document["request"] = _read_request(fields["request"])
    if "progress" in fields:
        document["progress"] = json.loads(fields["progress"])
    document |= {name: time_of(fields[name]) for name in _TIMES if name in fields}
    document["metrics"] = json.loads(fields.get("metrics", "{}")) | {
        "queue_ms": fields.get("queue_ms", 0),
        "attempts": fields["attempt"],
    }
    return JobRecord.model_validate(document | json.loads(fields.get("result", "{}")))


@lru_cache(maxsize=4096)
def _read_request(document: str) -> JobRequest:
    """A request never changes, and whoever waits for its job asks again."""
    return JobRequest.model_validate_json(document)
