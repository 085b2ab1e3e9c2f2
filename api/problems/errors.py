"""Every error as application/problem+json (RFC 9457); which of them, api/problems/catalogue.py says."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api.problems.catalogue import PROBLEMS, Kind
from services.errors import RateLimitedError, ServiceError, UnauthorizedError
from services.texts.words import in_words

logger = logging.getLogger(__name__)

_BY_STATUS = {
    PROBLEMS[name].status: PROBLEMS[name]
    for name in (
        "bad_request",
        "forbidden",
        "not_found",
        "method_not_allowed",
        "content_too_large",
        "unsupported_media_type",
        "range_not_satisfiable",
    )
}
_INVALID, _MISDIRECTED, _UNAVAILABLE, _INTERNAL = (
    PROBLEMS[name] for name in ("invalid_request", "misdirected", "unavailable", "internal")
)
_METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
_FIELD_PROBLEMS = 50  # told at once; a body has room for ten thousand unknown fields
_RETRY_AFTER_S = {429: "5", 503: "2"}


Responses = dict[int | str, dict[str, Any]]  # as FastAPI's `responses` takes them


Known = TypeVar("Known")
IfKnown = Annotated[Known | None, Field(exclude_if=lambda value: value is None)]  # left out where there is none
Told = tuple["Problem", dict[str, str]]  # with the headers that its answer has
Shape = Callable[["Problem", dict[str, str]], JSONResponse]


class FieldProblem(BaseModel):
    """One thing wrong: where in the body (a JSON pointer), or in which parameter."""

    pointer: IfKnown[str] = None
    parameter: IfKnown[str] = None
    detail: str


class Problem(BaseModel):
    """`type` is stable: programs decide by it, people read the rest, and the page that it leads to."""

    type: str = Field(
        description="A reference, relative to the gateway, to the page that explains it.",
        examples=[_UNAVAILABLE.type],
        json_schema_extra={"format": "uri-reference"},
    )
    title: str
    status: int
    detail: IfKnown[str] = None
    errors: IfKnown[list[FieldProblem]] = None


def problems(*statuses: int) -> Responses:
    """What a route's `responses` says about the problems that it may answer with."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def example_of(kind: Kind) -> dict[str, Any]:
    """A body of a problem of this kind."""
    problem = _problem(kind, kind.detail or None)
    if kind is _INVALID:
        problem.errors = [FieldProblem(pointer="/rarity/bits", detail="has to be 30 or less")]
    return problem.model_dump()


def answer_with_problems(app: FastAPI, others: Mapping[str, Shape]) -> None:
    """Have every error of the application answered by a problem; below the paths of `others`, in another shape."""

    def answering(tell: Callable[[Request, Exception], Awaitable[Told]]) -> Callable[..., Awaitable[JSONResponse]]:
        async def handle(request: Request, error: Exception) -> JSONResponse:
            path = request.scope["path"]
            shape = next((others[start] for start in others if path.startswith(f"{start}/")), answer)
            return shape(*await tell(request, error))

        return handle

    app.add_exception_handler(ServiceError, answering(_service_error))
    app.add_exception_handler(RequestValidationError, answering(_validation_error))
    app.add_exception_handler(HTTPException, answering(_http_error))
    app.add_exception_handler(ClientDisconnect, answering(_client_left))
    app.add_exception_handler(RedisError, answering(_redis_error))
    app.add_exception_handler(Exception, answering(_unexpected_error))


def answer(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """The problem on the wire."""
    own = retry_after(problem.status) | (headers or {})
    return JSONResponse(problem.model_dump(), problem.status, headers=own, media_type="application/problem+json")


def retry_after(status: int) -> dict[str, str]:
    """The header that says when to come again, where that helps."""
    return {"Retry-After": _RETRY_AFTER_S[status]} if status in _RETRY_AFTER_S else {}


def misdirected(host: str) -> Problem:
    """The problem of a request to a host that is not served."""
    return _problem(_MISDIRECTED, f"the host {host[:255]!r} is not served here")


def _problem(kind: Kind, detail: str | None = None) -> Problem:
    return Problem(type=kind.type, title=kind.title, status=kind.status, detail=detail)


async def _service_error(_request: Request, error: Exception) -> Told:
    if not isinstance(error, ServiceError) or PROBLEMS.get(error.code, _INTERNAL) is _INTERNAL:
        raise error
    if error.told != str(error):
        logger.warning("%s", error)
    return problem_of(error), _headers(error)


def problem_of(error: ServiceError) -> Problem:
    """The problem that tells of the error; KeyError for one that no client causes."""
    return _problem(PROBLEMS[error.code], error.told)


def _headers(error: ServiceError) -> dict[str, str]:
    """What the error asks for beside its document."""
    if isinstance(error, RateLimitedError):
        return {"Retry-After": str(error.retry_after_s)}
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, UnauthorizedError) else {}


async def _validation_error(_request: Request, error: Exception) -> Told:
    return invalid_request(error.errors() if isinstance(error, RequestValidationError) else []), {}


def invalid_request(found: Sequence[Any]) -> Problem:
    """The problem of a request in which pydantic found these errors."""
    fields = [_field_problem(one["loc"], in_words(one)) for one in found[:_FIELD_PROBLEMS]]
    return _problem(_INVALID).model_copy(update={"errors": fields})


def _field_problem(location: tuple[str | int, ...], detail: str) -> FieldProblem:
    source, *path = location
    if source != "body":
        return FieldProblem(parameter="/".join(map(str, path)), detail=detail)
    tokens = (str(token).replace("~", "~0").replace("/", "~1") for token in path)
    return FieldProblem(pointer="".join(f"/{token}" for token in tokens), detail=detail)


async def _http_error(request: Request, error: Exception) -> Told:
    if not isinstance(error, HTTPException) or error.status_code not in _BY_STATUS:
        raise error
    detail = None if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _methods(request) or headers["Allow"]
    return _problem(_BY_STATUS[error.status_code], detail), headers


def _methods(request: Request) -> str:
    """What the path takes, of all its routes; Starlette names the first one's methods only. Empty for a file's path."""
    scopes = {method: dict(request.scope) | {"method": method.replace("HEAD", "GET")} for method in _METHODS}
    return ", ".join(
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] == Match.FULL for route in request.app.routes)
    )


async def _client_left(_request: Request, _error: Exception) -> Told:
    """Nobody hears it; without it, everybody who leaves early writes a traceback into the log."""
    return _problem(_BY_STATUS[400], "the body ended early"), {}


async def _redis_error(_request: Request, error: Exception) -> Told:
    logger.warning("Redis: %s", error)
    return _problem(_UNAVAILABLE, "try again in a moment"), {}


async def _unexpected_error(_request: Request, _error: Exception) -> Told:
    return _problem(_INTERNAL), {}
