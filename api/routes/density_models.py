"""Density models: which concepts have one, and having one fitted ahead of time."""

import asyncio
from typing import Annotated

from fastapi import Path, Query, Response
from fastapi.exceptions import RequestValidationError

from api.density_models import Fit
from api.deps import CurrentGateway, Gateway
from api.documents.resources import DensityModel, DensityModelList
from api.http.routing import Router
from api.problems.errors import Responses, problems
from api.references import model_problems
from api.routes.jobs import accept
from services.density_models import DensityFacts, is_stored
from services.jobs.accepted import AcceptedRequest
from services.jobs.request import JobRequest, ModelName, Prompt, SomeText
from services.texts.concepts import DEFAULT_PROMPT, canonical

router = Router(prefix="/density-models", tag="density models")

_FITTING: Responses = {202: {"model": DensityModel, "description": "The density model, which `job` fits"}}

Concept = Annotated[SomeText, Path(description="As a job's `concept` has it.")]
InPrompt = Annotated[Prompt, Query()]
OfModel = Annotated[ModelName | None, Query(description="As a job's `model` has it.")]


@router.get("", responses=problems(503))
async def list_density_models(gateway: CurrentGateway) -> DensityModelList:
    """Up to 200 that are being fitted, the 200 that the caller's jobs used last, and those that workers start with.

    As workers have told: what the store has lost since is fitted anew for whoever asks for it.
    """
    ready, fits = await gateway.density_models.list()
    models = [DensityModel.fitting(fit, gateway.links) for fit in fits] + [*map(DensityModel.ready, ready)]
    return DensityModelList(density_models=models)


@router.put("/{concept:path}", responses=_FITTING | problems(422, 429, 503))
async def fit(
    concept: Concept,
    response: Response,
    gateway: CurrentGateway,
    prompt: InPrompt = DEFAULT_PROMPT,
    model: OfModel = None,
) -> DensityModel:
    """Have the model's density of the concept in the prompt fitted, so that no job has to wait for it.

    A job of the ordinary queue fits it, which can be followed and canceled like any; asking again meanwhile makes no
    second one.
    """
    settings = gateway.settings
    if found := [problem | {"loc": ("query", "model")} for problem in model_problems(settings, model)]:
        raise RequestValidationError(found)
    request = accept(JobRequest(concept=concept, prompt=prompt, model=model, seed=0), settings)
    if facts := await _ready(gateway, request):
        return DensityModel.ready(facts)
    await gateway.store.require()
    job_id = await gateway.density_models.fit(request, keep_s=settings.output_ttl_s, max_queued=settings.max_queued)
    response.status_code = 202
    response.headers["Location"] = gateway.links.to(f"/jobs/{job_id}")
    return DensityModel.fitting(Fit(canonical(concept), prompt, request.model, job_id), gateway.links)


async def _ready(gateway: Gateway, request: AcceptedRequest) -> DensityFacts | None:
    """What is told of the request's concept in its prompt to its model, if the store has it."""
    asked = (canonical(request.concept), request.prompt, request.model)
    told, _ = await gateway.density_models.list()
    facts = next((one for one in told if (one.concept, one.prompt, one.model) == asked), None)
    if facts is None:
        return None
    return facts if await asyncio.to_thread(is_stored, gateway.storage, facts) else None
