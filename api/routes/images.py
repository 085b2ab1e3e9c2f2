"""Pictures to start from: upload, look, erase."""

import asyncio
import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Path, Request, Response

from api.deps import CurrentGateway, Gateway
from api.documents.resources import Picture
from api.http.body import check_media_type
from api.http.routing import FILE, Router
from api.pictures import Upload
from api.problems.errors import problems
from services.objects.keys import upload_key, upload_prefix
from services.pictures.pixels import MEDIA_TYPES, normalize

PATH = "/images"

router = Router(prefix=PATH, tag="images")

_ANY = "application/octet-stream"  # all that many generated clients know of files
_TAKEN = (*MEDIA_TYPES, _ANY)
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": dict.fromkeys(_TAKEN, FILE)}}

UploadId = Annotated[str, Path(description="As the picture's `id` has it.")]


@router.post("", status_code=201, openapi_extra=_BODY, responses=problems(413, 415, 422, 503))
async def upload(request: Request, response: Response, gateway: CurrentGateway) -> Upload:
    """Keep a still picture for jobs to start from: upright, on white, without metadata, 1,024 pixels at most."""
    media_type = check_media_type(request, *_TAKEN)
    stated = None if media_type == _ANY else media_type
    kept = await keep(gateway, await request.body(), uuid.uuid4().hex, stated)
    response.headers["Location"] = gateway.links.to(f"{PATH}/{kept.id}")
    return kept


@router.get("/{upload_id}", responses=problems(404, 410, 503))
async def read(upload_id: UploadId, gateway: CurrentGateway) -> Picture:
    """The picture as it is kept."""
    return Picture.of(await gateway.uploads.get(upload_id), gateway.links)


@router.delete("/{upload_id}", status_code=204, responses=problems(404, 410, 503))
async def erase(upload_id: UploadId, gateway: CurrentGateway) -> None:
    """Erase the record and the picture; a job that has not started from it yet will fail.

    While the object store is away, the picture is erased as soon as it is back.
    """
    await gateway.uploads.get(upload_id)
    await gateway.uploads.delete(upload_id)
    await gateway.erase(upload_prefix(upload_id))


async def keep(gateway: Gateway, data: bytes, upload_id: str, media_type: str | None = None) -> Upload:
    """Have the picture kept under this id. Raises PictureError for what is none, of `media_type` if that is stated."""
    png, size = await asyncio.get_running_loop().run_in_executor(gateway.decoders, normalize, data, media_type)
    kept = _describe(upload_id, png, size, gateway.settings.output_ttl_s)
    await gateway.uploads.add(kept)
    await asyncio.to_thread(gateway.storage.put, upload_key(kept.id), png, "image/png")
    return kept


def _describe(upload_id: str, png: bytes, size: tuple[int, int], keep_s: int) -> Upload:
    width, height = size
    return Upload(
        id=upload_id,
        width=width,
        height=height,
        bytes=len(png),
        sha256=hashlib.sha256(png).hexdigest(),
        expires_at=datetime.now(UTC) + timedelta(seconds=keep_s),
    )
