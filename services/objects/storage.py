"""The object store: put, get, signed URL, delete; S3 through minio, local disk as the embedded default."""

import hashlib
import hmac
import io
import logging
import mimetypes
import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from opentelemetry import trace

from services import tracing
from services.errors import NoStorageError, StorageError
from services.settings import Settings

Result = TypeVar("Result")

PATIENCE_S = 60.0  # a worker's: what it has made took longer
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_TRY_S = 15.0  # for the connection and the sending, and again for the answer
_PIECE = 64 * 1024
logger = logging.getLogger(__name__)


class Storage(Protocol):
    """Keys are slash-separated; every method raises StorageError when the store is away or refuses."""

    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Store the object, whole or not at all."""

    def get(self, key: str) -> bytes:
        """The object's bytes; StorageError when it is missing."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    def holds(self, prefix: str) -> bool:
        """Whether there is an object below `prefix`, which ends in a slash."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key below `prefix`, which ends in a slash; those of one folder follow one another."""

    def delete(self, prefix: str) -> None:
        """Erase every object below `prefix`, which ends in a slash."""

    def signed_url(self, key: str, expires_at: datetime, ttl_s: int, saved_as: str = "") -> str:
        """A URL that anybody can GET from `ttl_s` seconds before `expires_at` until then; the same each time.

        A browser saves what it leads to as `saved_as`, where there is a name, instead of showing it.
        """

    def check(self) -> None:
        """Return when objects can be stored; NoStorageError when the store is there and refuses."""


def open_storage(settings: Settings, patience_s: float = PATIENCE_S) -> Storage:
    """The store that the settings name; nothing is contacted yet. S3 that is away is tried for `patience_s`."""
    if settings.storage == "local":
        key = settings.signing_key.get_secret_value() if settings.signing_key else ""
        return LocalStorage(settings.data_dir / "objects", signing_key=key, public_url=settings.public_url)
    return S3Storage(
        settings.s3_endpoint or "",
        access_key=settings.s3_access_key.get_secret_value() if settings.s3_access_key else "",
        secret_key=settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else "",
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        patience_s=patience_s,
        public_url=settings.s3_public_url,
    )


def attachment(saved_as: str) -> str:
    """The header `Content-Disposition` by which a browser saves a file of that name (RFC 6266)."""
    encoded = quote(saved_as, safe="")
    return f'attachment; filename="{saved_as}"' if encoded == saved_as else f"attachment; filename*=UTF-8''{encoded}"


class LocalStorage:
    """Files below `root`; the gateway serves them at /files/KEY to whoever has a signature for the key and time."""

    def __init__(self, root: Path, *, signing_key: str, public_url: str) -> None:
        self._root = root.resolve()
        self._signing_key = signing_key.encode()
        self._public_url = public_url

    @tracing.traced("storage put")
    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Written beside its place and renamed, so that nobody sees half an object; the type follows the suffix."""
        path = self.path(key)
        draft = path.with_name(f".{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise StorageError(f"{key} cannot be written: {error.strerror}") from error

    @tracing.traced("storage get")
    def get(self, key: str) -> bytes:
        try:
            return self.path(key).read_bytes()
        except OSError as error:
            raise StorageError(f"{key} cannot be read: {error.strerror}") from error

    @tracing.traced("storage exists")
    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    @tracing.traced("storage holds")
    def holds(self, prefix: str) -> bool:
        return any(path.is_file() for path in self.path(prefix).rglob("*"))

    def keys(self, prefix: str) -> Iterator[str]:
        for folder, _, names in os.walk(self.path(prefix)):
            below = Path(folder).relative_to(self._root).as_posix()
            yield from (f"{below}/{name}" for name in names if not name.startswith("."))  # no drafts

    @tracing.traced("storage delete")
    def delete(self, prefix: str) -> None:
        try:
            shutil.rmtree(self.path(prefix), ignore_errors=False)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{prefix} cannot be erased: {error.strerror}") from error

    def signed_url(self, key: str, expires_at: datetime, ttl_s: int, saved_as: str = "") -> str:
        expires = int(expires_at.timestamp())
        query = {"expires": expires, "signature": self._sign(key, expires, saved_as)}
        query |= {"saved_as": saved_as} if saved_as else {}
        return f"{self._public_url}/files/{quote(key)}?{urlencode(query)}"

    def check(self) -> None:
        try:
            self.put(".check/0", b"", "application/octet-stream")
        except StorageError as error:
            raise NoStorageError(str(error)) from error

    def path(self, key: str) -> Path:
        """Where the object lies; StorageError for a key that leads out of the root."""
        path = self._root.joinpath(key.lstrip("/"))
        if ".." in path.parts or "\0" in key:
            raise StorageError(f"{key!r} is no object key")
        return path

    def signature_holds(self, key: str, expires: int, signature: str, saved_as: str = "") -> bool:
        """Whether `signed_url` made this signature for the key and the name, and its time has not passed."""
        good = hmac.compare_digest(self._sign(key, expires, saved_as).encode(), signature.encode())
        return good and time.time() < expires

    def _sign(self, key: str, expires: int, saved_as: str) -> str:
        signed = "\n".join([str(expires), key] + [saved_as] * bool(saved_as))
        return hmac.new(self._signing_key, signed.encode(), hashlib.sha256).hexdigest()


def media_type_of(key: str) -> str:
    """The media type that the key's suffix names."""
    return mimetypes.guess_type(key, strict=False)[0] or "application/octet-stream"


class S3Storage:
    """A bucket; `endpoint` is a URL, with TLS unless its scheme is http, `public_url` the one that others know it by.

    A store that is away is tried again with growing pauses for `patience_s` seconds; a refusal is final.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        access_key: str,
        secret_key: str,
        bucket: str,
        region: str,
        patience_s: float = PATIENCE_S,
        public_url: str | None = None,
    ) -> None:
        try_s = min(_TRY_S, patience_s)
        self._bucket = bucket
        self._patience_s = patience_s
        connect = partial(
            _client,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
            http_client=urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=try_s, read=try_s)),
        )
        self._client = connect(endpoint)
        self._signer = connect(public_url) if public_url else self._client  # a signature covers the host

    @tracing.traced("storage put")
    def put(self, key: str, data: bytes, media_type: str) -> None:
        def upload() -> None:
            self._client.put_object(self._bucket, key, io.BytesIO(data), len(data), media_type)

        _patiently(upload, f"{key} cannot be stored", self._patience_s)

    @tracing.traced("storage get")
    def get(self, key: str) -> bytes:
        def download() -> bytes:
            response = self._client.get_object(self._bucket, key)
            try:
                return _read(response, time.monotonic() + self._patience_s)
            finally:
                response.close()
                response.release_conn()

        return _patiently(download, f"{key} cannot be read", self._patience_s)

    @tracing.traced("storage exists")
    def exists(self, key: str) -> bool:
        def look() -> bool:
            try:
                self._client.stat_object(self._bucket, key)
            except S3Error as error:
                if error.code in {"NoSuchKey", "NoSuchObject"}:
                    return False
                raise
            return True

        return _patiently(look, f"{key} cannot be looked up", self._patience_s)

    @tracing.traced("storage holds")
    def holds(self, prefix: str) -> bool:
        def look() -> bool:
            listed = self._client.list_objects(self._bucket, prefix, recursive=True)
            return any(not item.is_dir for item in listed)

        return _patiently(look, f"{prefix} cannot be looked into", self._patience_s)

    def keys(self, prefix: str) -> Iterator[str]:
        def look() -> list[str]:
            listed = self._client.list_objects(self._bucket, prefix, recursive=True)
            return [item.object_name or "" for item in listed]

        found = _patiently(look, f"{prefix} cannot be listed", self._patience_s)
        return (key for key in found if not key.endswith("/"))  # as some stores list folders

    @tracing.traced("storage delete")
    def delete(self, prefix: str) -> None:
        def erase() -> None:
            listed = self._client.list_objects(self._bucket, prefix, recursive=True)
            names = [DeleteObject(item.object_name or "") for item in listed]
            for error in self._client.remove_objects(self._bucket, names):
                raise MinioException(f"{error.name}: {error.message}")

        _patiently(erase, f"{prefix} cannot be erased", self._patience_s)

    def signed_url(self, key: str, expires_at: datetime, ttl_s: int, saved_as: str = "") -> str:
        ttl = timedelta(seconds=ttl_s)
        answer: dict[str, Any] | None = {"response-content-disposition": attachment(saved_as)} if saved_as else None
        return self._signer.presigned_get_object(
            self._bucket, key, expires=ttl, response_headers=answer, request_date=expires_at - ttl
        )

    def check(self) -> None:
        try:
            found = _patiently(lambda: self._client.bucket_exists(self._bucket), "the store does not answer", 0)
        except StorageError as error:
            if _is_refusal(error.__cause__):
                raise NoStorageError(f"the store refuses the bucket {self._bucket!r} to these keys") from error
            raise
        if not found:
            raise NoStorageError(f"there is no bucket {self._bucket!r}")


def _client(url: str, **options: Any) -> Minio:
    host = urlsplit(url if "://" in url else f"https://{url}")
    return Minio(host.netloc, secure=host.scheme == "https", **options)


def _is_refusal(error: BaseException | None) -> bool:
    return isinstance(error, S3Error) and error.response.status < 500


def _patiently(action: Callable[[], Result], failure: str, patience_s: float) -> Result:
    """The action's result; connection failures and 5xx are tried again after doubling pauses with jitter.

    The last try begins within `patience_s` seconds. Raises StorageError.
    """
    deadline, pause_s = time.monotonic() + patience_s, _FIRST_PAUSE_S
    while True:
        try:
            return action()
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            jittered_s = pause_s * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
            if _is_refusal(error) or time.monotonic() + jittered_s > deadline:
                logger.warning("%s: %s", failure, error)  # names hosts and buckets, which are no client's business
                raise StorageError(failure) from error
            trace.get_current_span().add_event("again", {"error.type": type(error).__name__})
            time.sleep(jittered_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The body; TimeoutError once `deadline`, of the monotonic clock, has passed: each piece may come in time."""
    pieces = []
    for piece in response.stream(_PIECE):
        if time.monotonic() > deadline:
            raise TimeoutError("the store sends too slowly")
        pieces.append(piece)
    return b"".join(pieces)
