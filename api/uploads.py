"""Uploaded pictures: their records in Redis, which expire and are swept as jobs' outputs are."""

from datetime import UTC, datetime

from services.base_models import StoredModel, read_one
from services.errors import UploadExpiredError, UploadNotFoundError
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
