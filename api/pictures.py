"""Pictures that a tenant has: those that were uploaded, which expire as jobs' outputs do, and those of found things."""

from datetime import UTC, datetime

from services.base_models import StoredModel, read_each, read_one
from services.bounds import FOUND
from services.errors import FoundLimitError, FoundNotKeptError, UploadExpiredError, UploadNotFoundError
from services.jobs.pipeline import Tenanted


class Upload(StoredModel):
    """A picture as it is stored: a PNG at `upload_key(id)`, erased after `expires_at`."""

    id: str
    width: int
    height: int
    bytes: int
    sha256: str
    expires_at: datetime


class Uploads(Tenanted):
    """What the gateway does with a tenant's uploads; every method raises redis-py's errors while Redis is away."""

    async def add(self, upload: Upload) -> None:
        """Record the upload before its object is stored, so that none is ever left without an end."""
        keep_s = (upload.expires_at - datetime.now(UTC)).total_seconds()
        await self._call("add_upload", upload.id, upload.model_dump_json(), int(keep_s * 1000))

    async def get(self, upload_id: str) -> Upload:
        """The record. Raises UploadNotFoundError, UploadExpiredError or UnreadableError."""
        found = await self._call("get_upload", upload_id)
        if found == 0:
            raise UploadNotFoundError(f"there is no picture {upload_id}")
        upload = None if found == 1 else read_one("picture", upload_id, Upload.model_validate_json, found)
        if upload is None or upload.expires_at <= datetime.now(UTC):
            raise UploadExpiredError(f"picture {upload_id} has expired and is erased")
        return upload

    async def delete(self, upload_id: str) -> None:
        """Forget the record, and have all below its prefix erased."""
        await self._call("delete_upload", upload_id)


class KeptFound(StoredModel):
    """A found thing that is kept until it is erased: its picture at `found_picture_key(id)`, and at `found_key(id)` the
    same with what led to it."""

    id: str
    name: str
    concept: str
    prompt: str
    model: str
    bits: float
    validity: float | None
    width: int
    height: int
    created_at: datetime


class FoundThings(Tenanted):
    """What the gateway does with a tenant's found things; every method raises redis-py's errors while Redis is away."""

    async def keep(self, found: KeptFound) -> None:
        """Record it before its objects are stored. Raises FoundLimitError."""
        if not await self._call("keep_found", found.id, found.model_dump_json(), FOUND):
            raise FoundLimitError(f"{FOUND} found things are kept, which is as many as may be: erase one first")

    async def get(self, found_id: str) -> KeptFound:
        """The record. Raises FoundNotKeptError or UnreadableError."""
        if not (document := await self._call("get_found", found_id)):
            raise FoundNotKeptError(found_id)
        return read_one("found thing", found_id, KeptFound.model_validate_json, document)

    async def list(self) -> list[KeptFound]:
        """All of them, the newest first."""
        return read_each("a found thing", KeptFound.model_validate_json, await self._call("list_found"))

    async def drop(self, found_id: str) -> None:
        """Forget the record, and have all below its prefix erased."""
        await self._call("drop_found", found_id)
