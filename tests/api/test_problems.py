"""Every problem and every failure that the code can answer with has its page."""

import ast
from pathlib import Path

import pytest

from api.problems.catalogue import FAILURES, PROBLEMS
from api.problems.errors import _BY_STATUS, Problem, example_of
from services.errors import ServiceError
from worker import attempt, heartbeat

ROOT = Path(__file__).parents[2]
ERRORS = (attempt.RunDeadlineError, heartbeat.DeafError, ServiceError)  # the first two live with those who raise them
UNTOLD = {
    "settings",
    "replay",
    "tenant",
    "lease_lost",
}  # of starts, commands and attempts


def calls(name, *folders):
    """Every call of `name` in the code of the folders."""
    trees = [ast.parse(file.read_text()) for folder in folders for file in (ROOT / folder).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [node for node in nodes if getattr(node.func, "id", None) == name]


def codes_of_services():
    def below(kind):
        return {kind.code}.union(*map(below, kind.__subclasses__()))

    return set().union(*map(below, ERRORS))


def test_every_error_of_the_service_is_explained_as_a_problem_or_as_a_failure():
    assert codes_of_services() - UNTOLD <= set(PROBLEMS) | set(FAILURES)


def test_every_http_error_that_the_gateway_raises_is_explained():
    statuses = {call.args[0].value for call in calls("HTTPException", "api")}
    assert statuses
    assert statuses <= set(_BY_STATUS)


def test_every_failure_that_is_written_down_is_explained():
    written = [
        keyword.value.value
        for call in calls("JobError", "services", "worker")
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    ]
    assert {"worker_lost", "start_deadline", "out_of_memory", "internal"} <= set(written)
    assert set(written) <= set(FAILURES)


@pytest.mark.parametrize("name", PROBLEMS)
async def test_type_of_a_problem_leads_to_its_page(gateway, name):
    kind = PROBLEMS[name]
    problem = Problem.model_validate(example_of(kind), extra="forbid")
    answer = await gateway.get(problem.type)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for told in (kind.title, str(kind.status), problem.type):
        assert told in answer.text
    assert kind.meaning
    assert kind.remedy
    assert f'href=".{problem.type}"' in (await gateway.get("/problems")).text


async def test_failures_have_their_place_on_the_page_of_problems(gateway):
    page = (await gateway.get("/problems")).text
    assert all(f'id="{code}"' in page for code in FAILURES)


async def test_unknown_problem_is_a_problem(gateway):
    answer = await gateway.get("/problems/nothing")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not_found")
