"""Density models as the store of objects and Redis have them: what the gateway says of them, without a tensor."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, TypeAdapter

from services.calls import Tenanted
from services.concepts import canonical
from services.errors import NoDensityError
from services.job_request import JobRequest
from services.jobs import refuse
from services.schemas import JobRecord
from services.storage import Storage

BASELINE_POINTS = 300
LOOKS = 8  # into the store at once


class Point(BaseModel):
    """A plain sample, in the coordinates and the bits that trials have."""

    x: float
    y: float
    bits: float


class Baseline(BaseModel):
    """What lies beside a density in the store of objects; `fitted_at` is null for one of before this was kept."""

    fitted_at: datetime | None
    points: list[Point]


class DensityFacts(BaseModel):
    """What a worker says of a density that it has had at hand.

    `key` is where it is stored; `family` tells densities of one model and one number of samples from others.
    """

    concept: str
    prompt: str
    samples: int
    components: int
    variance_kept: float
    fitted_at: datetime | None
    key: str
    family: str


FACTS = TypeAdapter(list[DensityFacts])


@dataclass(frozen=True)
class Fit:
    """A density that a job is fitting, or is to fit."""

    concept: str
    prompt: str
    job_id: str


def baseline_key(density: str) -> str:
    """Where the baseline of the density with this key lies."""
    return f"{density}/baseline.json"


def name_of_model(concept: str, prompt: str) -> str:
    """What stands for a concept, however it is written, in its prompt in Redis; of bounded length."""
    return hashlib.sha256(json.dumps([canonical(concept), prompt]).encode()).hexdigest()


def stored(storage: Storage, facts: Sequence[DensityFacts]) -> list[DensityFacts]:
    """Those that the store still has."""
    with ThreadPoolExecutor(LOOKS) as looks:
        there = looks.map(lambda one: storage.exists(baseline_key(one.key)), facts)
        return [one for one, is_there in zip(facts, there, strict=True) if is_there]


def read_points(storage: Storage, record: JobRecord) -> list[Point]:
    """The baseline of the job's density. Raises NoDensityError where there is none yet."""
    if record.density is None or not storage.exists(baseline_key(record.density)):
        raise NoDensityError(f"job {record.id} has no density yet")
    return Baseline.model_validate_json(storage.get(baseline_key(record.density))).points


class DensityModels(Tenanted):
    """What the gateway does with a tenant's density models; every method raises redis-py's errors."""

    async def list(self) -> tuple[list[DensityFacts], list[Fit]]:
        """What workers have had at hand, the latest first, then what they have preloaded; and what is being fitted.

        Densities of another model than the one that the last worker started with are left out.
        """
        family, preloaded, own, fits = await self._call("density_models")
        ready: dict[tuple[str, str], DensityFacts] = {}
        for facts in [*map(DensityFacts.model_validate_json, own), *FACTS.validate_json(preloaded)]:
            if facts.family == family:
                ready.setdefault((facts.concept, facts.prompt), facts)
        requests = [(job_id, JobRequest.model_validate_json(request)) for job_id, request in fits]
        return [*ready.values()], [Fit(canonical(asked.concept), asked.prompt, job_id) for job_id, asked in requests]

    async def fit(self, request: JobRequest, *, keep_s: int, max_queued: int) -> str:
        """The job that fits the density of the request's concept in its prompt: one that is at it, or a new one.

        Raises QueueFullError.
        """
        name = name_of_model(request.concept, request.prompt)
        arguments = (uuid.uuid4().hex, name, request.model_dump_json(), keep_s * 1000, max_queued)
        verdict, *answer = await self._call("fit", *arguments)
        refuse(verdict, answer, max_queued)
        return str(answer[0])
