"""The object store: whether it takes, has, hands out by signed URL, and erases an object."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx

from deploy.local.doctor.finding import Finding, failure, ok, warning
from services.errors import StorageError
from services.objects.storage import Storage, open_storage
from services.settings import Settings

PATIENCE_S = 2.0
_RIGHTS = {
    "local": "Let this user write to RAREBIT_DATA_DIR, and see that its disk has room.",
    "s3": "See that the bucket is there, and give the keys the rights of docs/stores.md.",
}


def look(settings: Settings) -> Iterator[Finding]:
    """What follows from the first thing that the store refuses is not asked."""
    storage, prefix = open_storage(settings, PATIENCE_S), f".check/{uuid.uuid4().hex}/"
    where = f"the bucket {settings.s3_bucket}" if settings.storage == "s3" else f"{settings.data_dir}"
    try:
        storage.check()
        yield from _object(storage, settings, prefix)
        yield ok("store", f"{where}: put, get and delete work")
    except StorageError as error:
        yield failure("store", f"{where}: {error}{_reason(error)}", _RIGHTS[settings.storage])


def _object(storage: Storage, settings: Settings, prefix: str) -> Iterator[Finding]:
    key, data = f"{prefix}0", uuid.uuid4().bytes
    storage.put(key, data, "application/octet-stream")
    try:
        storage.get(key)
        yield _public(storage.signed_url(key, datetime.now(UTC) + timedelta(seconds=60), 120), data, settings)
    finally:
        storage.delete(prefix)


def _public(url: str, data: bytes, settings: Settings) -> Finding:
    host = str(httpx.URL(url).copy_with(query=None, path="/"))
    local = settings.storage == "local"
    name = "RAREBIT_PUBLIC_URL" if local else "RAREBIT_S3_PUBLIC_URL"
    try:
        answer = httpx.get(url, trust_env=False, timeout=PATIENCE_S)
    except httpx.TransportError as error:
        do = f"Start a gateway there, or correct {name}." if local else f"See that {name} leads to the store."
        return warning("public URL", f"{host} cannot be reached from here: {error}", do)
    if answer.status_code == 200 and answer.content == data:
        return ok("public URL", f"{host} hands out what a signed URL names")
    same = "has the same RAREBIT_DATA_DIR and RAREBIT_SIGNING_KEY" if local else "passes path and Host on unchanged"
    told = f"{host} answers {answer.status_code} to a signed URL"
    return failure("public URL", told, f"See that what is at {name} {same}.")


def _reason(error: StorageError) -> str:
    """The store's own word for it, where it has one."""
    code = getattr(error.__cause__, "code", None)
    return f" ({code})" if code else ""
