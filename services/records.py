"""The job store's answers as records: what a job's hash in Redis says, and when a waiting job may start."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.schemas import Eta, JobRecord, QueuePlace

Page = tuple[list[tuple[JobRecord, QueuePlace | None]], int | None]  # jobs, newest first, and the next cursor


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: `kind` is status, progress or output, `data` JSON, `id` the stream's."""

    id: str
    kind: str
    data: str


_TIMES = ("created_at", "started_at", "finished_at", "expires_at")


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """A hash as Lua answers with it: its fields and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_view(view: Sequence[Any]) -> tuple[JobRecord, QueuePlace | None]:
    """The record, and the place in the queue while it waits, of `view` in jobs.lua."""
    record = read_record(pairs(view[0]))
    if len(view) == 1:
        return record, None
    return record, QueuePlace(position=view[1], eta_seconds=estimate(view[1], view[2], [int(ms) for ms in view[3]]))


def read_page(views: Sequence[Any], limit: int) -> Page:
    """The first `limit` of the views, with a cursor when there are more."""
    cursor = int(pairs(views[limit - 1][0])["seq"]) if len(views) > limit else None
    return [read_view(view) for view in views[:limit]], cursor


def read_record(fields: dict[str, str]) -> JobRecord:
    """The record as its hash has it: times in ms, documents as JSON; absent fields have not happened yet."""
    epoch = datetime.fromtimestamp(0, UTC)
    document: dict[str, Any] = {name: fields[name] for name in ("id", "status", "attempt")}
    document |= {name: json.loads(fields[name]) for name in ("request", "progress") if name in fields}
    document |= {name: epoch + timedelta(milliseconds=int(fields[name])) for name in _TIMES if name in fields}
    document["metrics"] = json.loads(fields.get("metrics", "{}")) | {
        "queue_ms": fields.get("queue_ms", 0),
        "attempts": fields["attempt"],
    }
    return JobRecord.model_validate(document | json.loads(fields.get("result", "{}")))


def estimate(position: int, workers: int, durations_ms: Sequence[int]) -> Eta | None:
    """When the job at `position` starts: rounds of `workers` jobs before it, each as long as the last ones were."""
    if not workers or len(durations_ms) < 2:
        return None
    rounds = math.ceil(position / workers)
    tenths = statistics.quantiles(durations_ms, n=10, method="inclusive")
    return Eta(p50=round(rounds * tenths[4] / 1000, 1), p90=round(rounds * tenths[8] / 1000, 1))
