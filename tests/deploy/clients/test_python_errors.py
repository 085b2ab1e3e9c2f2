"""What the Python client raises: errors of its own, whatever answers."""

import httpx
import pytest

import rarebit_client
from api.app import create_app
from rarebit_client import Client
from servers import eventually, served
from services.jobs.record import JobError, Metrics
from services.settings import Settings


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_name_that_would_lead_to_another_path_is_refused(alone, name):
    calls = (
        alone.exposure,
        alone.forget,
        alone.get,
        alone.delete,
        alone.delete_upload,
        alone.fit_density,
        alone.replay,
    )
    for call in calls:
        with pytest.raises(rarebit_client.InvalidRequest, match="empty or dots alone"):
            call(name)


class Answering(httpx.BaseTransport):
    """Answers as a proxy does that has gone its own way."""

    def __init__(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self._answer = (status, headers, content)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        status, headers, content = self._answer
        return httpx.Response(status, headers=headers, content=content, request=request)


@pytest.mark.parametrize(
    ("status", "content", "headers"),
    [
        (200, b"<html>Sign in</html>", {"content-type": "text/html"}),
        (200, b"{}", {"content-type": "application/json"}),
        (404, b"not JSON", {"content-type": "application/problem+json"}),
        (404, b"[]", {"content-type": "application/problem+json"}),
        (200, b"no gzip", {"content-encoding": "gzip"}),
    ],
)
def test_whatever_answers_the_error_is_ours(status, content, headers):
    with Client("http://gateway", retries=0, transport=Answering(status, content, headers)) as client:
        for call in (lambda: client.get("x"), lambda: client.exposure("x"), lambda: list(client.jobs())):
            with pytest.raises(rarebit_client.RarebitError):
                call()


def test_event_that_cannot_be_read_is_our_error():
    stream = Answering(200, b"event: status\ndata: {}\n\n", {"content-type": "text/event-stream"})
    with Client("http://gateway", retries=0, transport=stream) as client, pytest.raises(rarebit_client.RarebitError):
        list(client.events("x"))


def test_refused_field_is_named(alone):
    with pytest.raises(rarebit_client.InvalidRequest, match="/count") as caught:
        alone.submit("chair", count=17)
    assert [error["pointer"] for error in caught.value.errors] == ["/count"]


def test_unknown_job_is_not_found(alone):
    with pytest.raises(rarebit_client.NotFound):
        alone.get("0" * 32)


def test_expired_job_is_not_unknown(alone):
    job = alone.submit("chair", expires_in=1)
    alone.cancel(job.id)
    assert eventually(lambda: _raises(rarebit_client.Expired, alone.get, job.id))


def test_full_queue_is_no_rate_limit(settings: Settings):
    with served(create_app(settings.model_copy(update={"max_queued": 1}))) as url, Client(url, retries=0) as client:
        client.submit("chair")
        with pytest.raises(rarebit_client.QueueFull) as caught:
            client.submit("chair")
    assert caught.value.problem.retry_after_s > 0


def test_gateway_that_is_not_there_is_unavailable():
    with Client("http://127.0.0.1:9", retries=1) as client, pytest.raises(rarebit_client.Unavailable, match="refused"):
        client.get("0" * 32)


def test_failed_job_raises_its_code(alone, leases):
    job = alone.submit("chair")
    leases.fail(leases.claim(), JobError(code="validity", title="None is valid", detail="0 of 8 pass"), Metrics())
    with pytest.raises(rarebit_client.JobFailed, match="validity: 0 of 8 pass") as caught:
        alone.images(alone.wait(job.id))
    assert caught.value.code == "validity"


def test_job_canceled_by_others_raises(alone):
    job = alone.submit("chair")
    alone.cancel(job.id)
    with pytest.raises(rarebit_client.JobCanceled):
        alone.images(alone.wait(job.id))


def test_wait_that_is_over_leaves_the_job(alone):
    job = alone.submit("chair")
    with pytest.raises(TimeoutError):
        alone.wait(job.id, timeout_s=0.1)
    assert alone.get(job.id).status == "queued"


def _raises(kind: type[Exception], call, *arguments) -> bool:
    try:
        call(*arguments)
    except kind:
        return True
    return False
