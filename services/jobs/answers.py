"""The job store's answers as records: what a job's hash in Redis says, and when a waiting job may start."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, Self

from pydantic import TypeAdapter

from services.base_models import DAMAGE, read_each
from services.errors import IdempotencyConflictError, QueueFullError, UnreadableError
from services.jobs.accepted import AcceptedRequest
from services.jobs.pipeline import Tenanted
from services.jobs.record import Eta, JobRecord, Progress, QueuePlace, StoredOutput

IDEMPOTENCY_MS = 24 * 3600 * 1000
PRIORITIES = ("low", "normal", "high")
SILENT_MS = 10_000  # without a beat of the worker's heart, of which there are two meanwhile, or of a third of its lease
logger = logging.getLogger(__name__)
_EPOCH = datetime.fromtimestamp(0, UTC)
_TIMES = ("created_at", "started_at", "finished_at", "expires_at")
_OUTPUTS = TypeAdapter(list[StoredOutput])

Found = tuple[JobRecord, QueuePlace | None]  # a job, and its place in the queue while it waits


class Page(NamedTuple):
    """Jobs, newest first, the next cursor, and the ids of jobs between them whose records cannot be read."""

    found: list[Found]
    following: int | None
    unreadable: list[str]


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: `kind` is status, progress or output, `data` JSON, `id` the stream's."""

    id: str
    kind: str
    data: str


@dataclass(frozen=True)
class PoolStats:
    """A model's jobs and workers in figures: how many wait by priority, since when the oldest, and how many run; what
    the last jobs took, and how often what has happened (`counters`).

    `device_memory` is the share that the fullest of the workers' devices has had in use, None where nobody has one.
    """

    waiting: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0))
    oldest_waiting_ms: int = 0
    jobs_running: int = 0
    workers: int = 0
    durations_ms: Sequence[int] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    device_memory: float | None = None

    @property
    def at_work(self) -> bool:
        """Whether there are workers or jobs."""
        return bool(self.workers or self.jobs_running or any(self.waiting.values()))


@dataclass(frozen=True)
class Stats:
    """How much there is of what that is no pool's (`figures`), and the pools that there ever were, by model."""

    figures: Mapping[str, int]
    pools: Mapping[str, PoolStats]

    @classmethod
    def read(cls, answer: Sequence[Any]) -> Self:
        """What `stats` in stats.lua answered."""
        figures, pools = answer
        return cls(_numbers(figures), {model: _pool(*rest) for model, *rest in pools})

    def pool(self, model: str) -> PoolStats:
        """The model's, empty before it had a job or a worker."""
        return self.pools.get(model) or PoolStats()


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """A hash as Lua answers with it: its fields and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_view(view: Sequence[Any]) -> Found:
    """The record, and the place in the queue while it waits, of `view` in views.lua. Raises UnreadableError."""
    job_id, flat, *place = view
    return read_record(job_id, pairs(flat)), read_place(place)


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


def read_record(job_id: str, fields: dict[str, str]) -> JobRecord:
    """The record as its hash has it. Raises UnreadableError."""
    try:
        return _read(fields)
    except DAMAGE as error:
        told = "the record of job %s, of format %s, cannot be read: %s"
        logger.error(told, job_id, fields.get("format", 1), error, extra={"job": job_id})
        raise UnreadableError("job", job_id) from error


def write_outputs(outputs: Sequence[StoredOutput]) -> tuple[list[dict[str, Any]], str]:
    """The outputs as JSON has them, and what their `replay` blocks have in common as a document of its own.

    The model stays with each output: whoever looks at one without the rest has to know it.
    """
    first, *others = [output.replay for output in outputs] or [{}]
    common = {name for name in first if all(name in one and one[name] == first[name] for one in others)} - {"model"}
    rest = [
        output.model_copy(update={"replay": {name: output.replay[name] for name in output.replay.keys() - common}})
        for output in outputs
    ]
    return _OUTPUTS.dump_python(rest, mode="json"), json.dumps({name: first[name] for name in common})


def refuse(verdict: str, answer: Sequence[str], max_queued: int) -> None:
    """Raise what a submission's verdict means, if it is no job."""
    if verdict == "full" and answer[0] == "tenant":
        raise QueueFullError("as many of your jobs are waiting as your limit allows; try again later")
    if verdict == "full":
        raise QueueFullError(f"{max_queued} jobs are waiting, no more are taken; try again later")
    if verdict == "conflict":
        raise IdempotencyConflictError("the idempotency key was used before with another body")


class Recorded(Tenanted):
    """Reads jobs' records. Those that have ended and cannot be read go into quarantine, where operators find them."""

    async def _read_one(self, view: Sequence[Any]) -> Found:
        try:
            return read_view(view)
        except UnreadableError as error:
            await self._call("set_aside", error.id)
            raise

    async def _read_page(self, answer: Sequence[Any]) -> Page:
        """What `page` in views.lua answered."""
        views, following = answer
        page = Page([], following and int(following), [])
        for view in views:
            try:
                page.found.append(await self._read_one(view))
            except UnreadableError as error:
                page.unreadable.append(error.id)
        return page


def _read(fields: dict[str, str]) -> JobRecord:
    """Times are in ms, documents are JSON; absent fields have not happened yet."""
    document: dict[str, Any] = {name: fields[name] for name in ("id", "status", "attempt")}
    document |= {name: fields[name] for name in ("kind", "density") if name in fields}
    document["request"] = _read_request(fields["request"])
    document |= {name: time_of(fields[name]) for name in _TIMES if name in fields}
    document["progress"] = _read_progress(fields)
    document["metrics"] = json.loads(fields.get("metrics", "{}")) | {
        "queue_ms": fields.get("queue_ms", 0),
        "attempts": fields["attempt"],
    }
    result = json.loads(fields.get("result", "{}"))
    common = json.loads(fields.get("replay", "{}"))
    for output in result.get("outputs", []) if common else []:
        output["replay"] = common | output.get("replay", {})
    return JobRecord.model_validate(document | result)


def _read_progress(fields: dict[str, str]) -> Progress | None:
    told = [fields["progress"]] if "progress" in fields else []
    progress, *_ = [*read_each("a job's progress", Progress.model_validate_json, told), None]
    silent_ms = int(fields.get("silent_ms", 0))
    if silent_ms < max(SILENT_MS, int(fields.get("lease_ms", 0)) / 3):
        return progress
    progress = progress or Progress(phase="load", step=0, steps=1)  # with which each attempt begins
    return progress.model_copy(update={"silent_s": round(silent_ms / 1000, 1)})


@lru_cache(maxsize=4096)
def _read_request(document: str) -> AcceptedRequest:
    """A request never changes, and whoever waits for its job asks again."""
    return AcceptedRequest.model_validate_json(document)


def _pool(flat: Sequence[Any], durations_ms: Sequence[str], counters: Sequence[str], *fullest: str) -> PoolStats:
    figures = _numbers(flat)
    return PoolStats(
        waiting={priority: figures[f"waiting:{priority}"] for priority in PRIORITIES},
        oldest_waiting_ms=figures["oldest_waiting_ms"],
        jobs_running=figures["jobs_running"],
        workers=figures["workers"],
        durations_ms=[int(ms) for ms in durations_ms],
        counters=_numbers(counters),
        device_memory=float(fullest[0]) if fullest else None,
    )


def _numbers(flat: Sequence[Any]) -> dict[str, int]:
    return {name: int(number) for name, number in pairs(flat).items()}
