"""The outputs that the local store keeps, for whoever holds a signed URL."""

from typing import Annotated

from fastapi import HTTPException, Query
from fastapi.responses import FileResponse

from api.deps import OpenGateway
from api.http.file_responses import PartialFile
from api.http.routing import FILE, Router
from api.problems.errors import Responses, problems
from services.objects.storage import LocalStorage, attachment, media_type_of

router = Router(tag="files")
_OBJECT: Responses = {
    200: {"content": {"image/*": FILE}, "description": "The object"},
    206: {"content": {"image/*": FILE}, "description": "The part that `Range` asks for"},
    304: {"description": "The object is as `If-None-Match` knows it"},
}
_HEADERS = {
    "Cache-Control": "private, immutable, max-age=86400",
    "Cross-Origin-Resource-Policy": "cross-origin",  # the URL is the permission, and other sites show pictures
}


@router.get(
    "/files/{key:path}",
    response_class=FileResponse,
    responses=_OBJECT | problems(403, 404, 416, 422),
)
def read_file(
    key: str,
    expires: Annotated[int, Query(ge=0, le=10**12)],
    signature: Annotated[str, Query(max_length=128)],
    gateway: OpenGateway,
    saved_as: Annotated[str, Query(max_length=255, description="The name that the file is saved under.")] = "",
) -> PartialFile:
    """An output, until its URL expires; only where the service stores on local disk."""
    storage = gateway.storage
    if not isinstance(storage, LocalStorage):
        raise HTTPException(404, "outputs are kept in the object store, not here")
    if not storage.signature_holds(key, expires, signature, saved_as):
        raise HTTPException(403, "the URL is not signed by this service, or has expired")
    if not storage.exists(key):
        raise HTTPException(404, "the object is erased")
    named = {"Content-Disposition": attachment(saved_as)} if saved_as else {}
    return PartialFile(storage.path(key), media_type=media_type_of(key), headers=_HEADERS | named)
