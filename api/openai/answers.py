"""What OpenAI's clients are given: a job's images, or why there are none; and the models."""

import asyncio
import base64
from typing import Literal

from fastapi import Response
from pydantic import BaseModel

from api.deps import Gateway
from api.openai.errors import SHOULD_RETRY, failed
from api.problems.errors import IfKnown
from services.jobs.record import JobRecord, JobStatus, StoredOutput

ResponseFormat = Literal["url", "b64_json"]
_REFUSED = {
    "decoding",
    "other_model",
    "out_of_memory",
    "prompt",
    "reference_gone",
    "unsafe_content",
}  # by what is asked
_LATE = {"run_deadline", "start_deadline"}


class GeneratedImage(BaseModel):
    """One image; `output` names it in other requests, `bits`, `validity` and `novelty_bits` are its own figures."""

    url: IfKnown[str] = None
    b64_json: IfKnown[str] = None
    revised_prompt: str
    output: str
    seed: int
    bits: float
    validity: float | None
    novelty_bits: float | None


class GeneratedImages(BaseModel):
    """The images of the job `id`; `warnings` is what is not as asked for."""

    created: int
    data: list[GeneratedImage]
    output_format: str
    size: str
    id: str
    warnings: list[str]


class ServedModel(BaseModel):
    """What `model` may be; `fingerprint` is of the weights that its last worker started with, null before any has."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rarebit"
    fingerprint: str | None

    @classmethod
    async def served(cls, gateway: Gateway, model: str) -> "ServedModel":
        return cls(id=model, fingerprint=await gateway.density_models.fingerprint(model))


class ServedModels(BaseModel):
    """Every model that is served, the default first."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


async def answer_with_images(
    gateway: Gateway, record: JobRecord, response_format: ResponseFormat, headers: dict[str, str], *, keyed: bool
) -> Response:
    """The job's images; an error that names the job where it has none, or none yet. Raises StorageError."""
    if record.status is not JobStatus.SUCCEEDED:
        return _no_images(record, gateway.settings.wait_limit_s, keyed=keyed)
    first = record.outputs[0]
    images = GeneratedImages(
        created=int((record.finished_at or record.created_at).timestamp()),
        data=[await _image(gateway, record, index, response_format) for index in range(len(record.outputs))],
        output_format=record.request.format,
        size=f"{first.width}x{first.height}",
        id=record.id,
        warnings=record.warnings,
    )
    return Response(images.model_dump_json(), 200, headers, media_type="application/json")


async def _image(gateway: Gateway, record: JobRecord, index: int, response_format: ResponseFormat) -> GeneratedImage:
    stored = record.outputs[index]
    as_url = response_format == "url"
    return GeneratedImage(
        url=gateway.links.picture(stored.key, gateway.links.expiry(record.expires_at)) if as_url else None,
        b64_json=None if as_url else await asyncio.to_thread(_encoded, gateway, stored),
        revised_prompt=record.request.prompt.replace("{}", record.request.concept),
        output=f"{record.id}/{index}",
        seed=stored.seed,
        bits=stored.rarity.bits,
        validity=stored.validity,
        novelty_bits=stored.novelty_bits,
    )


def _encoded(gateway: Gateway, stored: StoredOutput) -> str:
    return base64.b64encode(gateway.storage.get(stored.key)).decode()


def _no_images(record: JobRecord, waited_s: int, *, keyed: bool) -> Response:
    """A client that sends the request once more by itself does so where it has a key, and so waits for the same job."""
    if not record.status.final:
        again = "send the request again with its Idempotency-Key" if keyed else f"look at GET /jobs/{record.id}"
        message = f"the job {record.id} is {record.status} after {waited_s} seconds, and goes on: {again}"
        return failed(504, "timeout", message, job=record.id, headers={SHOULD_RETRY: str(keyed).lower()})
    never = {SHOULD_RETRY: "false"}
    if record.error is None:
        return failed(409, "canceled", f"the job {record.id} was canceled", job=record.id, headers=never)
    code = record.error.code
    status = 400 if code in _REFUSED else 504 if code in _LATE else 500
    message = f"{record.error.title}: {record.error.detail} (job {record.id})"
    return failed(status, code, message, job=record.id, headers=never)
