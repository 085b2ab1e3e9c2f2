"""What is wrong with a parameter or a field is said in words that a person can follow, whichever it is."""

import json
import re
from urllib.parse import quote

import pytest

VALUES = ["", "\u2603", "x" * 2500, "-1", "1.5", "9" * 30, "0" * 31, "..", "a\0b", "\u202e"]
OTHERS = [None, True, 1.5, -1, 10**30, [], {}, ["x"] * 101, {"x": 1}, *VALUES]
SPARED = re.compile(r"pydantic|[Pp]attern|should|[Ii]nput|\^|\\[dws]|[a-z]_[a-z]+_")  # what is for programmers
JOB = {"concept": "lamp"}


@pytest.fixture
def contract(app):
    return app.openapi()


def operations(contract):
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation.get("parameters", [])


def asked(method, path, parameter, value):
    """The request with that value for the parameter, and well-formed ones for those in its path."""
    own = {parameter["name"]: quote(value, safe="")} if parameter["in"] == "path" else {}
    filled = re.sub(r"{(\w+)}", lambda found: own.get(found[1]) or "0" * 32, path)
    given = {"params": {parameter["name"]: value}} if parameter["in"] == "query" else {}
    headers = {parameter["name"]: quote(value, safe="")} if parameter["in"] == "header" else {}
    return {"method": method, "url": filled, "headers": headers, **given}


def told(answer):
    return [error["detail"] for error in answer.json()["errors"]] if answer.status_code == 422 else []


async def test_of_every_parameter_of_every_operation(gateway, contract):
    heard = {}
    for method, path, parameters in operations(contract):
        for parameter in parameters:
            for value in VALUES:
                answer = await gateway.request(**asked(method, path, parameter, value))
                assert answer.status_code < 500, (method, path, parameter["name"], value)
                heard |= dict.fromkeys(told(answer), (path, parameter["name"], value))
    assert {"has to be the `next_cursor` of a page", "has to be the `id` of an event"} <= heard.keys()
    assert {sentence: where for sentence, where in heard.items() if SPARED.search(sentence)} == {}


async def test_of_every_field_of_a_job(gateway, contract):
    heard = {}
    rarity, picture = ["bits", "percentile", "ladder"], ["upload", "output", "strength"]
    nested = {"rarity": rarity, "image": picture, "webhook": ["url", "events"]}
    lists = {name: ["text", "output", "weight"] for name in ("avoid", "toward")}
    for value in OTHERS:
        bodies = [{name: value} for name in contract["components"]["schemas"]["JobRequest"]["properties"]]
        bodies += [{name: {inner: value}} for name in nested for inner in nested[name]]
        bodies += [{name: [{inner: value}]} for name in lists for inner in lists[name]]
        for body in bodies:
            answer = await gateway.post("/jobs", json=JOB | body)
            heard |= dict.fromkeys(told(answer), json.dumps(body)[:80])
    assert {sentence: where for sentence, where in heard.items() if SPARED.search(sentence)} == {}


async def test_of_every_field_of_views_and_batches(gateway):
    heard = {}
    for value in OTHERS:
        views = [{"views": value}, {"views": [value]}, *({"views": [{n: value}]} for n in ("output", "feedback"))]
        batches = [
            {"jobs": value},
            {"jobs": [value]},
            {"jobs": [JOB], "shared": value},
            {"jobs": [JOB], "webhook": value},
        ]
        for path, bodies in {"/exposures/user-7/views": views, "/batches": batches}.items():
            for body in bodies:
                heard |= dict.fromkeys(told(await gateway.post(path, json=body)), json.dumps(body)[:80])
    assert {sentence: where for sentence, where in heard.items() if SPARED.search(sentence)} == {}
