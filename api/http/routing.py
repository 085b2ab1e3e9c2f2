"""How a request comes to its endpoint."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from inspect import signature
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from api.http.body import JsonRequest, check_media_type

FILE = {"schema": {"type": "string", "format": "binary"}}  # by which generated clients know one


class Router(APIRouter):
    """Routes of a kind of thing; generated clients call them `jobs_submit`, `jobs_list`."""

    def __init__(self, *, tag: str, prefix: str = "") -> None:
        super().__init__(prefix=prefix, tags=[tag], route_class=_Route, generate_unique_id_function=_operation_id)


def _operation_id(route: APIRoute) -> str:
    tag = str(route.tags[0]).replace(" ", "_")
    return f"{tag}_{route.name.removesuffix(f'_{tag}')}"


def _join_lines(scope: Scope) -> None:
    """Have preferences that came in several fields be the one list that they are (RFC 9110, 5.3)."""
    lines = [value for name, value in scope["headers"] if name == b"prefer"]
    if len(lines) > 1:
        others = [header for header in scope["headers"] if header[0] != b"prefer"]
        scope["headers"] = [*others, (b"prefer", b", ".join(lines))]


class _Route(APIRoute):
    """A route whose body, if it takes one, is said to be JSON (else 415) and is.

    An endpoint that writes its own Response is called at once when what the request has for it holds; FastAPI's way to
    the same arguments costs three times as much. Any other request goes that way, and hears what is wrong with it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual = super().get_route_handler()
        writes_response = signature(self.endpoint).return_annotation is Response

        async def handle(request: Request) -> Response:
            if self.body_field is not None:
                check_media_type(request, "application/json")
            _join_lines(request.scope)
            request = JsonRequest(request.scope, request.receive)
            if self.body_field is not None and await request.body():
                await request.json()  # FastAPI, which asks next, would hide what is wrong with it
            arguments = await self._arguments(request) if writes_response else None
            return await usual(request) if arguments is None else await self.endpoint(**arguments)

        return handle

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        stated = [*self.dependant.query_params, *self.dependant.header_params]
        return {field.name: field.default for field in stated if not field.field_info.is_required()}

    async def _arguments(self, request: Request) -> dict[str, Any] | None:
        """What FastAPI would call the endpoint with; None for a request with a query, or with what does not hold.

        Endpoints here take a path, headers, one body, and dependencies that take the request alone.
        """
        dependant, arguments = self.dependant, self._defaults.copy()
        if request.scope["query_string"] or (dependant.body_params and not await request.body()):
            return None
        given = [(field, request.path_params[field.name]) for field in dependant.path_params]
        given += [(field, request.headers.get(field.alias)) for field in dependant.header_params]
        given += [(field, None) for field in dependant.query_params]
        given += [(field, await request.json()) for field in dependant.body_params]
        for field, value in given:
            if value is None and field.name in arguments:
                continue
            arguments[field.name], errors = field.validate(value)
            if errors:
                return None
        for name, call in ((each.name, each.call) for each in dependant.dependencies):
            if name and call:
                arguments[name] = await call(request)
        return arguments
