"""Density models as the gateway tells of them, without a tensor: those that are ready, and those being fitted."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from services import tracing
from services.base_models import read_each, read_one
from services.density_models import Baseline, DensityFacts, Point, baseline_key, name_of_model
from services.errors import NoDensityError
from services.jobs.accepted import AcceptedRequest
from services.jobs.answers import refuse
from services.jobs.pipeline import Tenanted
from services.jobs.record import JobRecord
from services.objects.storage import Storage
from services.texts.concepts import canonical


@dataclass(frozen=True)
class Fit:
    """A density that a job is fitting, or is to fit."""

    concept: str
    prompt: str
    model: str
    job_id: str


def read_points(storage: Storage, record: JobRecord) -> list[Point]:
    """The baseline of the job's density. Raises NoDensityError where there is none yet, or UnreadableError."""
    if record.density is None or not storage.exists(baseline_key(record.density)):
        raise NoDensityError(f"job {record.id} has no density yet")
    data = storage.get(baseline_key(record.density))
    return read_one("the density of job", record.id, Baseline.model_validate_json, data).points


class DensityModels(Tenanted):
    """What the gateway does with a tenant's density models; every method raises redis-py's errors."""

    async def list(self) -> tuple[list[DensityFacts], list[Fit]]:
        """What workers have had at hand, the latest first, then what they have preloaded; and what is being fitted.

        Densities of other weights than those that the model's last worker started with are left out; of what is being
        fitted, a hundred or two are told. Nobody looks into the store of objects, which may have lost some.
        """
        served, own, fits = await self._call("density_models")
        families = {model: family for model, family, _ in served}
        ready: dict[tuple[str, str, str], DensityFacts] = {}
        documents = [*map(json.loads, own), *(one for *_, preloaded in served for one in json.loads(preloaded))]
        for facts in read_each("a density model", DensityFacts.model_validate, documents):
            if facts.family == families.get(facts.model):
                ready.setdefault((facts.concept, facts.prompt, facts.model), facts)
        return [*ready.values()], read_each("the request of a fit", _read_fit, fits)

    async def fingerprint(self, model: str) -> str | None:
        """Of the weights that the model's last worker started with; None before any has."""
        family: str = await self._call("family", model)
        return family.rpartition("-")[0] or None

    async def fit(self, request: AcceptedRequest, *, keep_s: int, max_queued: int) -> str:
        """The job that fits the density of the request's concept in its prompt: one that is at it, or a new one.

        Raises QueueFullError.
        """
        name = name_of_model(request.concept, request.prompt, request.model)
        arguments = (uuid.uuid4().hex, name, request.model_dump_json(), keep_s * 1000, max_queued)
        with tracing.span("submit", kind=SpanKind.PRODUCER, attributes={"rarebit.tenant": self._tenant}):
            verdict, *answer = await self._call("fit", *arguments, tracing.traceparent())
        refuse(verdict, answer, max_queued)
        return str(answer[0])


def _read_fit(fit: Sequence[str]) -> Fit:
    job_id, request = fit
    asked = AcceptedRequest.model_validate_json(request)
    return Fit(canonical(asked.concept), asked.prompt, asked.model, job_id)
