"""OpenAI's images API: an ordinary job, and its pictures in the answer."""

import asyncio
import hashlib
import uuid
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from api.deps import CurrentGateway, Gateway
from api.events import wait_until_final
from api.http.routing import FILE, Router
from api.openai import PATH
from api.openai.answers import GeneratedImages, ServedModel, ServedModels, answer_with_images
from api.openai.errors import errors
from api.openai.forms import read_form
from api.openai.requests import ImagesRequest, VariationsRequest
from api.problems.errors import Responses
from api.routes.images import keep
from api.routes.jobs import IdempotencyKey, make
from services.jobs.request import JobRequest

VARIATIONS = f"{PATH}/images/variations"

router = Router(prefix=PATH, tag="openai")

_IMAGES: Responses = {200: {"model": GeneratedImages, "description": "The images"}}
_SCHEMA = VariationsRequest.model_json_schema(ref_template="#/components/schemas/{model}")
_FORM = _SCHEMA | {"properties": {"image": FILE["schema"], **_SCHEMA["properties"]}, "required": ["image"]}
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


async def _as_it_comes(request: Request) -> Request:
    return request


Coming = Annotated[Request, Depends(_as_it_comes)]


@router.post(
    "/images/generations",
    response_model=GeneratedImages,
    responses=_IMAGES | errors(400, 404, 409, 410, 413, 415, 429, 500, 503, 504),
)
async def generate(
    body: ImagesRequest, gateway: CurrentGateway, request: Coming, idempotency_key: IdempotencyKey
) -> Response:
    """Make a job and answer with its images, as `POST /images/generations` of OpenAI does.

    A job that has not ended within the service's limit of waiting (50 seconds unless set) goes on, and the answer is
    504 with its id. A client that leaves earlier cancels its job, unless it has an idempotency key, to come again with.
    """
    return await _made(gateway, request, body.job(), body, idempotency_key)


@router.post(
    "/images/variations",
    response_model=GeneratedImages,
    openapi_extra=_BODY,
    responses=_IMAGES | errors(400, 404, 409, 410, 413, 415, 429, 500, 503, 504),
)
async def vary(gateway: CurrentGateway, request: Coming, idempotency_key: IdempotencyKey) -> Response:
    """Make a job that starts from a picture, PNG, JPEG or WebP, and answer with its images; else as generations.

    The picture is kept as an upload is, and the job's `request` names it.
    """
    document, picture = await read_form(request, "image")
    body, upload_id = VariationsRequest.of_form(document), uuid.uuid4().hex
    job = body.job(image={"upload": upload_id})
    await keep(gateway, picture, upload_id)
    return await _made(gateway, request, job, body, idempotency_key, hashlib.sha256(picture).hexdigest())


@router.get("/models", responses=errors(503))
async def list_models(gateway: CurrentGateway) -> ServedModels:
    """What `model` may be."""
    return ServedModels(data=[await ServedModel.served(gateway, model) for model in gateway.settings.models])


@router.get("/models/{model}", responses=errors(404, 503))
async def read_model(model: str, gateway: CurrentGateway) -> ServedModel:
    """A model."""
    if model not in (models := gateway.settings.models):
        raise HTTPException(404, f"there is no model {model}; there are {', '.join(models)}")
    return await ServedModel.served(gateway, model)


async def _made(
    gateway: Gateway, request: Request, job: JobRequest, body: ImagesRequest, idempotency_key: str, picture: str = ""
) -> Response:
    """The answer to a request for the job; `picture` names the bytes that it starts from, whatever they are kept as."""
    named = job.model_dump_json(exclude={"image"} if picture else None) + picture
    submitted = await make(job, gateway, idempotency_key, named)
    if not submitted.found[0].status.final:
        await _end(gateway, submitted.id, request, keyed=bool(idempotency_key))
    record, _ = await gateway.jobs.get(submitted.id)
    replayed = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
    wanted = body.response_format or "url"
    return await answer_with_images(gateway, record, wanted, replayed, keyed=bool(idempotency_key))


async def _end(gateway: Gateway, job_id: str, request: Request, *, keyed: bool) -> None:
    """Return when the job has ended, or has been waited for long enough.

    Raises ClientDisconnect when the client has left, who takes its job with it if it cannot come again for it.
    """
    ended = asyncio.ensure_future(wait_until_final(gateway, job_id, gateway.settings.wait_limit_s))
    left = asyncio.ensure_future(request.receive())  # after the body, nothing comes but the end of the connection
    try:
        await asyncio.wait([ended, left], return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return await ended
    finally:
        ended.cancel()
        left.cancel()
    if not keyed:
        await gateway.jobs.cancel(job_id)
    raise ClientDisconnect
