"""A span for each request, in the trace of its client if that names one."""

from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services import tracing

_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
_PROBES = ("/health/", "/metrics")


class Traced:
    """FastAPI's own spans, and Starlette's, tell paths and queries, which have signatures and the names of users."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_on = tracing.is_on()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_PROBES):
            return await self._app(scope, receive, send)
        named = [value for name, value in scope["headers"] if name == b"traceparent"]
        if not self._is_on and not named:
            return await self._app(scope, receive, send)
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        parent = tracing.context_of(named[0].decode("latin-1") if len(named) == 1 else "")
        about = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with tracing.tracer.start_as_current_span(
            method, parent, SpanKind.SERVER, about, record_exception=False, set_status_on_exception=False
        ) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        tracing.fail(str(message["status"]))
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                if route := getattr(scope.get("route"), "path", None):
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
