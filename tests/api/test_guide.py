"""docs/api.md and the OpenAPI document say the same, and its examples are what they are said to be."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from markdown_it import MarkdownIt
from pydantic import TypeAdapter

from api.documents.resources import Batch, FoundThing, Job, JobList
from api.problems.catalogue import FAILURES, PROBLEMS
from api.problems.errors import Problem
from api.routes.batches import BatchRequest
from api.routes.exposures import Views
from services.jobs.record import TRANSITIONS, Phase
from services.jobs.request import JobRequest

GUIDE = (Path(__file__).parents[2] / "docs/api.md").read_text()
TOKENS = MarkdownIt("commonmark").enable("table").parse(GUIDE)
EXAMPLES = (Batch, BatchRequest, FoundThing, Job, JobList, JobRequest, Problem, Views)
MODELS = {model.__name__: model for model in EXAMPLES}
FENCES = [token for token in TOKENS if token.type == "fence"]


def table(first):
    """The rows of the table whose first column has this head, as their cells' text."""
    rows, cells = [], []
    for token, inner in pairwise(TOKENS):
        if token.type in {"th_open", "td_open"}:
            cells.append(inner.content)
        if token.type == "tr_close":
            rows.append(cells)
            cells = []
        if token.type == "table_close":
            if rows[0][0] == first:
                return rows[1:]
            rows = []
    raise LookupError(f"there is no table of {first!r}")


def words(cell):
    """What stands in code in the cell."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def contract(app):
    return app.openapi()


def properties(contract, name):
    return set(contract["components"]["schemas"][name]["properties"])


def told(first):
    """What the first column of the table names."""
    return [name for row in table(first) for name in words(row[0])]


def in_words(schema):
    """The schema's type as the page has it."""
    if "anyOf" in schema:
        return " or ".join(in_words(one) for one in schema["anyOf"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {bounds(schema, 'Items')} {in_words(schema['items'])}"
    if schema["type"] == "string":
        return f"string, {bounds(schema, 'Length')} characters"
    return ", ".join(filter(None, [schema["type"], bounds(schema, "imum")]))


def bounds(schema, what):
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if high is None:
        return ""
    return f"up to {high:.99g}" if low is None else f"{low:.99g}–{high:.99g}"


def test_every_operation_is_on_the_page_with_its_answers(contract):
    operations = {
        f"{method.upper()} {path}": set(operation["responses"])
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    }
    rows = {words(call)[0]: re.findall(r"\b\d{3}\b", answers) for call, _, answers in table("call")}
    assert {call: set(statuses) for call, statuses in rows.items()} == operations


def test_every_field_of_a_request_is_on_the_page_with_its_type_and_default(contract):
    schema = contract["components"]["schemas"]["JobRequest"]
    fields = {
        name: (
            in_words(field),
            f"`{json.dumps(field.get('default'))}`" if name not in schema["required"] else "required",
        )
        for name, field in schema["properties"].items()
    }
    assert {words(name)[0]: (kind, default) for name, kind, default, _ in table("field")} == fields


@pytest.mark.parametrize(
    ("first", "schema"),
    [
        ("of the job", "Job"),
        ("of an output", "Output"),
        ("of `metrics`", "Metrics"),
        ("of `progress`", "Progress"),
    ],
)
def test_every_field_of_an_answer_is_on_the_page(contract, first, schema):
    assert set(told(first)) == properties(contract, schema)


def test_every_parameter_and_header_is_on_the_page(contract):
    operations = [operation for path in contract["paths"].values() for operation in path.values()]
    parameters = [one for operation in operations for one in operation.get("parameters", []) if one["in"] != "path"]
    assert {name.lower() for name in told("header or parameter")} == {one["name"] for one in parameters} | {
        "authorization"
    }


def test_every_state_is_on_the_page_with_those_after_it():
    assert {words(state)[0]: set(words(after)) for state, _, after in table("state")} == {
        str(state): set(map(str, after)) for state, after in TRANSITIONS.items()
    }


def test_every_phase_is_on_the_page():
    assert told("phase") == list(get_args(Phase))


def test_every_event_is_on_the_page(contract):
    events = contract["paths"]["/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert told("event") == events["schema"]["properties"]["event"]["enum"]


def test_every_problem_is_on_the_page_with_its_status():
    assert {words(name)[0]: int(status) for name, status, _ in table("problem")} == {
        name: kind.status for name, kind in PROBLEMS.items()
    }


def test_every_reason_of_failure_is_on_the_page():
    assert told("`error.code`") == list(FAILURES)


@pytest.mark.parametrize(
    "fence", [fence for fence in FENCES if fence.info.startswith("json")], ids=lambda fence: fence.info
)
def test_example_is_what_it_is_said_to_be(fence):
    """The model's name stands behind `json`."""
    model = MODELS[fence.info.split()[1]]
    document = json.loads(fence.content)
    TypeAdapter(model).validate_json(fence.content, extra="forbid")
    assert set(document) <= set(model.model_fields)


def test_bodies_that_commands_send_are_requests():
    commands = "".join(fence.content for fence in FENCES if fence.info == "sh")
    bodies = re.findall(r"-d '([^']+)'", commands)
    assert bodies
    for body in bodies:
        JobRequest.model_validate_json(body)
