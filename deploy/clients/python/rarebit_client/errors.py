"""Everything that can go wrong, as one tree: by the problem's `type` (RFC 9457), else by the status."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from pydantic import ValidationError

from rarebit_client.documents import JobSummary


class Problem:
    """What the gateway said: `name` is the last part of its `type`; `errors` point at fields of the request."""

    def __init__(self, status: int, document: dict[str, Any], retry_after_s: float | None) -> None:
        self.status = status
        self.name = str(document.get("type", "")).replace(":", "/").rpartition("/")[2]
        self.title = str(document.get("title", f"HTTP {status}"))
        self.detail: str | None = document.get("detail")
        self.errors: list[dict[str, str]] = document.get("errors") or []
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        fields = [f"{error.get('pointer') or error.get('parameter')}: {error['detail']}" for error in self.errors]
        return "; ".join([self.detail or self.title, *fields])


class RarebitError(Exception):
    """The base of all; `problem` is the gateway's answer, where there was one."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem

    @property
    def errors(self) -> list[dict[str, str]]:
        """What is wrong in the request: `pointer` (or `parameter`) and `detail` of each field."""
        return self.problem.errors if self.problem else []


class InvalidRequest(RarebitError):
    """The request cannot be met as it is; `errors` says which fields are wrong."""


class Unauthorized(RarebitError):
    """No API key, or none that is good for this."""


class NotFound(RarebitError):
    """Nothing that this key may see has this id."""


class Expired(RarebitError):
    """It was kept as long as was promised, and is erased."""


class RateLimited(RarebitError):
    """Too many requests, still after the retries."""


class QueueFull(RarebitError):
    """As many jobs are waiting as the service accepts, still after the retries."""


class Unavailable(RarebitError):
    """The gateway, or what it needs, does not answer, still after the retries."""


class TimedOut(Unavailable):
    """A proxy did not wait for the gateway's answer."""


class WaitTimeout(RarebitError, TimeoutError):
    """The job goes on; only the wait for it is over."""


class _EndedWithout(RarebitError):
    def __init__(self, job: JobSummary) -> None:
        reason = f"{job.error.code}: {job.error.detail}" if job.error else job.status
        super().__init__(f"job {job.id}: {reason}")
        self.job = job
        self.code = job.error.code if job.error else job.status


class JobFailed(_EndedWithout):
    """The job ended without pictures; `code` is a stable word, `job` has the rest."""


class JobCanceled(_EndedWithout):
    """Somebody canceled the job."""


_BY_NAME: dict[str, type[RarebitError]] = {"queue_full": QueueFull}
_BY_STATUS: dict[int, type[RarebitError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    410: Expired,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: TimedOut,
}
TEMPORARY = (QueueFull, RateLimited, Unavailable)


def error_of(response: httpx.Response) -> RarebitError:
    """The exception that an answer other than 2xx stands for."""
    problem = Problem(response.status_code, _document(response), _seconds(response.headers.get("retry-after")))
    other = InvalidRequest if response.is_client_error else RarebitError
    kind = _BY_NAME.get(problem.name) or _BY_STATUS.get(problem.status, other)
    return kind(str(problem), problem)


def no_answer(error: httpx.TransportError) -> Unavailable:
    """The exception that a broken connection stands for."""
    return Unavailable(f"the gateway does not answer: {str(error) or type(error).__name__}")


@contextmanager
def understood(what: str) -> Iterator[None]:
    """RarebitError where a document cannot be read as what it should be."""
    try:
        yield
    except ValidationError as error:
        raise RarebitError(f"{what} cannot be read: {error}") from error


def raise_unless_succeeded(job: JobSummary) -> None:
    """JobFailed or JobCanceled, where the job ended so; ValueError where it has not ended."""
    if not job.ended:
        raise ValueError(f"job {job.id} has no pictures yet, it is {job.status}")
    if job.status == "failed":
        raise JobFailed(job)
    if job.status == "canceled":
        raise JobCanceled(job)


def _document(response: httpx.Response) -> dict[str, Any]:
    with suppress(ValueError):
        if isinstance(document := response.json(), dict):
            return document if response.headers.get("content-type", "").startswith("application/problem+json") else {}
    return {}


def _seconds(retry_after: str | None) -> float | None:
    """A date, which no gateway of ours sends, is left to the client's own backoff."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
