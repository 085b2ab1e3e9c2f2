"""What an answer has to be: one that the contract documents, in the form that it documents, without a word too many."""

import http.client
import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from api.problems.errors import Problem
from tests.fuzz.attacked import Gateway
from tests.servers import SIGNING_KEY

TIMEOUT_S = 30
IMPATIENT_S = 0.3
PROBLEM = "application/problem+json"
_NO_HTTP = (b"Invalid HTTP request received.", b"The request's head is too long.")  # uvicorn's own words
_ROUTING = {404, 405}  # for a path that was bent until it led elsewhere


@dataclass(frozen=True)
class Answer:
    status: int
    media_type: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Attack:
    """Bytes for a connection.

    `ends` where the gateway can tell that nothing follows, `operation`, as "POST /jobs", where the path leads to one.
    """

    request: bytes
    ends: bool
    operation: str | None = None

    def __repr__(self) -> str:
        return f"{self.operation}: {self.request[:2000]!r}"


def answer_to(gateway: Gateway, attack: Attack) -> Answer | None:
    """The first answer on a connection of its own; None where it is closed instead. Raises TimeoutError."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=TIMEOUT_S) as connection:
        connection.settimeout(TIMEOUT_S if attack.ends else IMPATIENT_S)
        with suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(attack.request)
        try:
            response = http.client.HTTPResponse(connection, method=attack.request.partition(b" ")[0].decode("latin-1"))
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers.get("content-type", ""), headers, response.read())
        except (http.client.BadStatusLine, ConnectionError):
            return None


def fault_of(gateway: Gateway, attack: Attack, answer: Answer) -> str | None:
    """What is wrong with the answer, if anything."""
    if str(gateway.folder).encode() in answer.body or SIGNING_KEY.encode() in answer.body:
        return "tells what is none of the client's business"
    if answer.status == 400 and answer.body in _NO_HTTP:
        return None
    if answer.status >= 500 or answer.status not in _documented(gateway.contract, attack.operation):
        return f"answers {answer.status}, which is not documented"
    if answer.status >= 400 and not attack.request.startswith(b"HEAD"):
        return _fault_of_problem(answer)
    return None


def _documented(contract: dict[str, Any], operation: str | None) -> set[int]:
    method, _, path = (operation or "").partition(" ")
    operations = [contract["paths"][path][method.lower()]] if operation else _every(contract)
    return {int(status) for one in operations for status in one["responses"]} | (set() if operation else _ROUTING)


def _every(contract: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in contract["paths"].values() for operation in path.values()]


def _fault_of_problem(answer: Answer) -> str | None:
    if answer.media_type != PROBLEM:
        return f"has a problem as {answer.media_type}"
    try:
        problem = Problem.model_validate(json.loads(answer.body), extra="forbid")
    except (ValueError, ValidationError) as error:
        return f"has no problem in it: {error}"
    return None if problem.status == answer.status else f"says {problem.status} in the body, {answer.status} before it"
