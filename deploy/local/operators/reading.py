"""What a service is at, read from its Redis: jobs, workers and density models of all tenants."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import redis

from deploy.local.operators.pools import Pool
from services.base_models import read_each
from services.bounds import DEFAULT_MODEL
from services.density_models import DensityFacts
from services.errors import UnreadableError
from services.jobs.answers import Stats, pairs, read_view
from services.jobs.store import EVERYBODY, Operations
from services.tenants import Tenants

PART = 100  # BATCH in common.lua


@dataclass(frozen=True)
class OpenJob:
    """A job that waits, runs or is in quarantine; a `held` one waits until its tenant may run one more."""

    status: str
    id: str
    tenant: str
    model: str = ""
    concept: str = ""
    age_s: float | None = None
    phase: str = ""
    step: str = ""
    bits: float | None = None
    silent_s: float | None = None
    worker: str = ""
    prompt: str = ""
    fits: bool = False


@dataclass(frozen=True)
class SeenWorker:
    """A worker, when it was last heard of, and what it runs."""

    worker: str
    model: str
    seen_s: float | None
    jobs: list[OpenJob]


@dataclass(frozen=True)
class KnownDensity:
    """The density model of a concept in its prompt; one that no tenant's jobs had in the last 90 days has no name."""

    state: str
    concept: str
    prompt: str
    step: str = ""
    samples: int | None = None
    used_s: float | None = None
    key: str = ""


def parts(operations: Operations, operation: str, *arguments: str) -> Iterator[Sequence[Any]]:
    """What an operation of operators.lua answers that does so in parts."""
    for first in count(0, PART):
        part: Sequence[Any] = operations(operation, EVERYBODY, *arguments, first)
        yield part
        if len(part) < PART:  # of names with their scores there are twice as many items
            return


class Overview:
    """Reads the job store in parts of a hundred. Every method raises redis-py's errors."""

    def __init__(self, client: redis.Redis) -> None:
        self._operations, self._client = Operations(client), client
        seconds, microseconds = client.time()
        self._now_s = seconds + microseconds / 1e6

    def stats(self) -> Stats:
        """The store in figures."""
        return Stats.read(self._operations("stats", EVERYBODY))

    def pools(self) -> list[Pool]:
        """Those that there ever were, the one of jobs that named no model first."""
        return [Pool.of(model, stats) for model, stats in self.stats().pools.items()]

    def jobs(self, what: str) -> Iterator[OpenJob]:
        """Those that are running, queued, held or quarantined; those that wait or run by their models."""
        for model in [DEFAULT_MODEL] if what == "quarantined" else self._models:
            for part in parts(self._operations, "jobs_at", what, model):
                yield from (self._job(what, view) for view in part)

    def workers(self) -> list[SeenWorker]:
        """Those that were heard of and those whose jobs still run, the newest sign of life of each model last."""
        running: dict[tuple[str, str], list[OpenJob]] = {}
        for job in self.jobs("running"):
            running.setdefault((job.worker, job.model), []).append(job)
        seen = {(name, model): ms / 1000 for model in self._models for name, ms in self._scored("workers", model)}
        names = [*(running.keys() - seen.keys()), *seen]
        return [SeenWorker(*name, seen.get(name), running.get(name, [])) for name in names]

    def densities(self) -> list[KnownDensity]:
        """What is being fitted or waits for that, then what is ready, the last used first."""
        jobs = [job for what in ("running", "queued", "held") for job in self.jobs(what) if job.fits]
        fits = [KnownDensity("fits" if job.phase else "waits", job.concept, job.prompt, job.step) for job in jobs]
        used = {key: round(self._now_s - ms / 1000, 1) for key, ms in self._scored("densities")}
        facts, preloaded = self._facts()
        keys = [*(preloaded - used.keys()), *reversed(used)]
        return [*fits, *(_ready(key, facts.get(key), used.get(key)) for key in keys)]

    @cached_property
    def _models(self) -> Sequence[str]:
        models: Sequence[str] = self._operations("pools", EVERYBODY)
        return models

    def _scored(self, operation: str, *arguments: str) -> Iterator[tuple[str, float]]:
        """Names, each with its milliseconds."""
        for part in parts(self._operations, operation, *arguments):
            yield from ((name, float(ms)) for name, ms in zip(part[::2], part[1::2], strict=True))

    def _job(self, what: str, view: Sequence[Any]) -> OpenJob:
        fields = pairs(view[1])
        about = str(view[0]), fields.get("tenant", "")
        try:
            record, _ = read_view(view)
        except UnreadableError:
            return OpenJob("unreadable", *about)
        done = record.progress
        return OpenJob(
            str(record.status if what == "running" else what),
            *about,
            model=fields.get("model", DEFAULT_MODEL),
            concept=record.request.concept,
            age_s=round(self._now_s - record.created_at.timestamp(), 1),
            phase=done.phase if done else "",
            step=f"{done.step}/{done.steps}" if done else "",
            bits=done.rarity_bits if done else None,
            silent_s=done.silent_s if done else None,
            worker=fields.get("worker", ""),
            prompt=record.request.prompt,
            fits=record.kind == "density_model" or (done is not None and done.phase == "fit"),
        )

    def _facts(self) -> tuple[dict[str, DensityFacts], set[str]]:
        """What tenants were told of their densities, by key, and the keys that workers start with."""
        facts: dict[str, DensityFacts] = {}
        preloaded: set[str] = set()
        for tenant in {EVERYBODY, *(key.tenant for key in Tenants(self._client).list_keys())}:
            served, own, _ = self._operations("density_models", tenant)
            started_with = [document for *_, preloads in served for document in json.loads(preloads)]
            preloaded = {document["key"] for document in started_with}
            documents = [*map(json.loads, own), *started_with]
            facts |= {one.key: one for one in read_each("a density model", DensityFacts.model_validate, documents)}
        return facts, preloaded


def _ready(key: str, facts: DensityFacts | None, used_s: float | None) -> KnownDensity:
    if facts is None:
        return KnownDensity("ready", "", "", used_s=used_s, key=key)
    return KnownDensity("ready", facts.concept, facts.prompt, samples=facts.samples, used_s=used_s, key=key)
