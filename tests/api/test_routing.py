"""Laws of the direct way to an endpoint: it gives what FastAPI's own way gives, and is taken where it can be."""

import json
from typing import Annotated

import fastapi.routing
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from api.http.routing import Router


class Wish(BaseModel):
    concept: str = Field(min_length=1)
    count: int = Field(default=1, ge=1, strict=True)


async def path_of(request: Request) -> str:
    return request.url.path


async def answer(
    name: str,
    wish: Wish,
    path: Annotated[str, Depends(path_of)],
    times: Annotated[int, Header(le=9)],
    if_key: Annotated[str, Header(min_length=1, max_length=3)] = "none",
    wait: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    given = {"name": name, "wish": wish.model_dump(), "path": path, "if_key": if_key, "times": times, "wait": wait}
    return Response(json.dumps(given), media_type="application/json")


def client_of(router: APIRouter) -> TestClient:
    router.add_api_route("/{name}", answer, methods=["POST"])
    return TestClient(FastAPI(routes=router.routes))


DIRECT, USUAL = client_of(Router(tag="wishes")), client_of(APIRouter())
BODIES = [
    '{"concept": "lamp"}',
    '{"concept": "lamp", "count": 2}',
    '{"concept": ""}',
    '{"count": "2"}',
    "[]",
    "null",
    "",
]
HEADERS = [("if-key", ""), ("if-key", "a"), ("If-Key", "long"), ("times", "3"), ("times", "10"), ("times", "x")]


@settings(deadline=None)
@given(
    path=st.sampled_from(["/a", "/a%20b", "/%2F", "/a?wait=2", "/a?wait=-1", "/a?other=1"]),
    headers=st.lists(st.sampled_from(HEADERS)),
    body=st.sampled_from(BODIES),
)
def test_every_request_is_answered_as_fastapi_answers_it(path, headers, body):
    headers = [("content-type", "application/json"), *headers]
    direct, usual = (client.post(path, headers=headers, content=body) for client in (DIRECT, USUAL))
    assert (direct.status_code, direct.content) == (usual.status_code, usual.content)


def test_plain_request_does_without_fastapis_way(monkeypatch):
    async def refuse(**_: object) -> None:
        raise AssertionError("FastAPI was asked for the arguments")

    monkeypatch.setattr(fastapi.routing, "solve_dependencies", refuse)
    answer = DIRECT.post("/a", json={"concept": "lamp"}, headers={"times": "2"})
    assert answer.json() == {
        "name": "a",
        "wish": {"concept": "lamp", "count": 1},
        "path": "/a",
        "if_key": "none",
        "times": 2,
        "wait": 0,
    }
    with pytest.raises(AssertionError):
        DIRECT.post("/a?wait=1", json={"concept": "lamp"}, headers={"times": "2"})
