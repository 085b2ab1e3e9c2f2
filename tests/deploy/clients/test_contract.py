"""What the clients know of the service is what its contract says."""

import runpy
from pathlib import Path

import httpx
import pytest

from rarebit_client import documents, errors
from rarebit_client.options import JobOptions
from rarebit_client.retries import Retries

PYTHON = Path("deploy/clients/python")
CONTRACT = {
    "Attempt": "DeliveryAttempt",
    "JobPage": "JobList",
    "Rarity": "ReachedRarity",
    "StatusChange": None,
}  # where the names differ
DOCUMENTS = [
    kind for kind in vars(documents).values() if isinstance(kind, type) and issubclass(kind, documents.Document)
]


def test_client_for_threads_is_made_from_the_one_for_tasks(tmp_path):
    runpy.run_path(str(PYTHON / "make_sync.py"))["make_sync"](tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.glob("*.py")}
    assert made == {path.name: path.read_text() for path in (PYTHON / "rarebit_client/_sync").glob("*.py")}


def test_every_field_of_a_request_can_be_given(app):
    fields = app.openapi()["components"]["schemas"]["JobRequest"]["properties"]
    assert {"concept", *JobOptions.__annotations__} == fields.keys()


@pytest.fixture
def known(app):
    """The contract's schema of each document that it names."""
    schemas = app.openapi()["components"]["schemas"]
    return {
        kind: schemas[name] for kind in DOCUMENTS if (name := CONTRACT.get(kind.__name__, kind.__name__)) in schemas
    }


def test_documents_have_no_field_that_the_contract_lacks(known):
    assert {documents.Job, documents.Output, documents.Progress, documents.Upload} <= known.keys()
    invented = {kind.__name__: kind.model_fields.keys() - schema["properties"] for kind, schema in known.items()}
    assert {name: fields for name, fields in invented.items() if fields} == {}


def test_what_may_be_null_in_the_contract_may_be_null_in_a_document(known):
    def nullable(schema):
        return {name for name, field in schema["properties"].items() if {"type": "null"} in field.get("anyOf", [])}

    own = {kind: kind.model_json_schema() for kind in known}
    refused = {
        kind.__name__: (nullable(schema) & own[kind]["properties"].keys()) - nullable(own[kind])
        for kind, schema in known.items()
    }
    assert {name: fields for name, fields in refused.items() if fields} == {}


def test_fields_of_a_newer_gateway_are_kept():
    assert documents.Exposure(key="k", size=0, feedback={}, concepts={}, mood="good").mood == "good"


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "bad_request", errors.InvalidRequest),
        (401, "unauthorized", errors.Unauthorized),
        (403, "forbidden", errors.Unauthorized),
        (404, "not_found", errors.NotFound),
        (410, "expired", errors.Expired),
        (422, "idempotency_conflict", errors.InvalidRequest),
        (429, "queue_full", errors.QueueFull),
        (429, "rate_limited", errors.RateLimited),
        (500, "internal", errors.RarebitError),
        (503, "storage", errors.Unavailable),
    ],
)
@pytest.mark.parametrize("prefix", ["urn:rarebit:problem:", "/problems/", "https://rarebit.example/problems/"])
def test_problem_is_an_exception_of_its_type(status, name, kind, prefix):
    body = {"type": prefix + name, "title": "No", "status": status, "detail": "because"}
    response = httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})
    error = errors.error_of(response)
    assert (type(error), str(error), error.problem.name) == (kind, "because", name)


def test_answer_of_a_proxy_in_between_is_an_exception_by_its_status():
    assert type(errors.error_of(httpx.Response(502, text="<h1>Bad Gateway</h1>"))) is errors.Unavailable


@pytest.mark.parametrize("failures", range(1, 5))
def test_pause_is_never_shorter_than_asked_for_and_differs_each_time(failures):
    """The least of five in a row is 7.75 s: a gateway has the time to start again."""
    error = errors.error_of(httpx.Response(429, headers={"retry-after": "5"}))
    pauses = [Retries(4).pause_s(failures, error) for _ in range(20)]
    assert 5 + 0.125 * 2**failures <= min(pauses) < max(pauses) <= 5 + 0.25 * 2**failures


def test_retries_end_and_a_refusal_has_none():
    busy, refusal, closed = (errors.error_of(httpx.Response(status)) for status in (503, 422, 503))
    closed.problem.retry_after_s = 3600
    for failures, error in ((5, busy), (1, refusal), (1, closed)):
        with pytest.raises(type(error)):
            Retries(4).pause_s(failures, error)
