"""Everything that can go wrong below /v1, in OpenAI's words."""

from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse

from api.problems.errors import FieldProblem, IfKnown, Problem, Responses, retry_after

SHOULD_RETRY = "X-Should-Retry"  # by which OpenAI's SDKs decide, before they look at the status
_CODES = {"unauthorized": "invalid_api_key", "rate_limited": "rate_limit_exceeded"}  # that programs look for


class ErrorFacts(BaseModel):
    """`code` is a stable word; `param` the field, as `rarity.bits`; `job` the job that gave no pictures."""

    message: str
    type: str
    param: str | None
    code: str
    job: IfKnown[str] = None


class OpenAIError(BaseModel):
    """What cannot be answered as asked."""

    error: ErrorFacts


def errors(*statuses: int) -> Responses:
    """What a route's `responses` says about the errors that it may answer with."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def answer_in_openai_shape(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """The problem as OpenAI's SDKs read one; to them what is not valid is a bad request."""
    name = problem.type.rpartition("/")[2]
    fields = problem.errors or []
    return failed(
        400 if problem.status == 422 else problem.status,
        _CODES.get(name, name),
        "; ".join(map(_sentence, fields)) or problem.detail or problem.title,
        param=_param(fields[0]) if fields else None,
        headers=retry_after(problem.status) | (headers or {}),
    )


def failed(
    status: int,
    code: str,
    message: str,
    *,
    param: str | None = None,
    job: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The error on the wire."""
    facts = ErrorFacts(message=message, type=_type(status), param=param, code=code, job=job)
    return JSONResponse(OpenAIError(error=facts).model_dump(), status, headers)


def _type(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"


def _param(problem: FieldProblem) -> str | None:
    return (problem.pointer or "").strip("/").replace("/", ".") or problem.parameter


def _sentence(problem: FieldProblem) -> str:
    return f"{_param(problem) or 'the body'} {problem.detail}"
