"""What is taken for a request body: JSON, or a picture where a route says so, of a bounded size."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALIASES = {"image/jpg": "image/jpeg"}  # what many programs make of a file's name


class BodyLimit:
    """Refuse a longer body with 413: by its stated length, or, sent in chunks, when it grows too long.

    `exceptions` are the paths with a limit of their own.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int, exceptions: Mapping[str, int]) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._exceptions = exceptions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0
        limit_bytes = self._exceptions.get(scope.get("path", ""), self._limit_bytes)

        def refuse_beyond(size: int) -> None:
            if size > limit_bytes:
                raise HTTPException(413, f"the body may have {limit_bytes} bytes")

        async def counted() -> Message:
            nonlocal received
            stated = Headers(scope=scope).get("content-length", "0")
            refuse_beyond(int(stated) if stated.isdecimal() else 0)  # before it is asked for what waits for a 100
            message = await receive()
            received += len(message.get("body", b""))
            refuse_beyond(received)
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


class JsonRequest(Request):
    async def json(self) -> Any:
        """The body's document; 400 for what RFC 8259 does not allow (NaN too) and for what is nested too deeply.

        RequestValidationError names the keys that an object has twice, of which JSON does not say which one holds.
        """
        if not hasattr(self, "_json"):
            self._json = _parsed(await self.body())
        return self._json


def _parsed(body: bytes) -> Any:
    ambiguous: list[_Ambiguous] = []
    try:
        document = json.loads(body, object_pairs_hook=partial(_object, ambiguous), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise HTTPException(400, "the body is not JSON: it is not in UTF-8") from None
    except RecursionError:
        raise HTTPException(400, "the body is nested too deeply") from None
    except ValueError:  # Python's bound on the digits of an integer, the one other thing that it finds
        raise HTTPException(400, "the body has a number of too many digits") from None
    if ambiguous:
        raise RequestValidationError(list(_repeats(document)))
    return document


class _Ambiguous(dict[str, Any]):
    """An object some of whose keys come again."""

    repeated: Sequence[str] = ()


def _object(found: list[_Ambiguous], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) == len(pairs):
        return document
    ambiguous, counts = _Ambiguous(document), Counter(key for key, _ in pairs)
    ambiguous.repeated = [key for key, count in counts.items() if count > 1]
    found.append(ambiguous)
    return ambiguous


def _repeats(document: Any) -> Iterator[dict[str, Any]]:
    """The keys that come again, as pydantic would name them; without recursion, for what is nested deeply."""
    left: list[tuple[tuple[str | int, ...], Any]] = [(("body",), document)]
    while left:
        place, value = left.pop()
        if isinstance(value, _Ambiguous):
            yield from ({"loc": (*place, key), "msg": "is there more than once"} for key in value.repeated)
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        left += [((*place, key), item) for key, item in inner]


def _refuse_constant(name: str) -> NoReturn:
    raise HTTPException(400, f"the body is not JSON: {name} is no JSON value")


def check_media_type(request: Request, *taken: str) -> str:
    """The media type that the body is said to have; 415 unless it is one of those `taken`, and not compressed."""
    coding = ", ".join(request.headers.getlist("content-encoding"))
    if not {one.strip().lower() for one in coding.split(",")} <= {"identity", ""}:
        raise HTTPException(415, f"Content-Encoding: {coding} is not taken", {"Accept-Encoding": "identity"})
    stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    media_type = _ALIASES.get(stated, stated)
    if media_type not in taken:
        raise HTTPException(415, f"the body has to be {' or '.join(taken)}, not {media_type or 'untyped'}")
    return media_type
