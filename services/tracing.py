"""OpenTelemetry traces: each begins with a client's request, and goes on with its jobs and their webhooks.

Off until OpenTelemetry's own variables name a collector. A client's `traceparent` (W3C Trace Context) goes along with a
job either way.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services import __version__
from services.errors import SettingsError

CLOSE_S = 3.0  # at the end of a process, for spans on their way to a collector that may be away
tracer = trace.get_tracer("rarebit", __version__)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_W3C = TraceContextTextMapPropagator()
_NOBODY = Context()
_NOTHING = nullcontext(trace.INVALID_SPAN)

Attributes = Mapping[str, str | int]
Given = ParamSpec("Given")
Result = TypeVar("Result")


def is_on() -> bool:
    """Whether the environment names a collector of spans."""
    off = _variable("OTEL_SDK_DISABLED").lower() == "true" or _variable("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(map(_variable, _ENDPOINTS))


def configure(process: str) -> None:
    """Export spans as the environment has it, by OTLP over HTTP; a full or failing exporter drops them.

    SettingsError for what only another exporter could do, and where the extra `otel` is not installed.
    """
    if not is_on():
        return
    if (exporter := _variable("OTEL_TRACES_EXPORTER") or "otlp") != "otlp":
        raise SettingsError(f"OTEL_TRACES_EXPORTER={exporter} is not here: otlp is, and none")
    if (protocol := next(filter(None, map(_variable, _PROTOCOLS)), "http/protobuf")) != "http/protobuf":
        raise SettingsError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not here: http/protobuf is, at port 4318")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise SettingsError(f"to trace takes {error.name}: pip install 'rarebit[otel]'") from error
    about = {"service.version": __version__, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    if not _variable("OTEL_SERVICE_NAME") and "service.name=" not in _variable("OTEL_RESOURCE_ATTRIBUTES"):
        about["service.name"] = f"rarebit-{process}"
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def close() -> None:
    """Send what has not been sent, for CLOSE_S seconds at most; nothing is exported any more."""
    if shutdown := getattr(trace.get_tracer_provider(), "shutdown", None):
        sending = threading.Thread(target=shutdown, daemon=True)
        sending.start()
        sending.join(CLOSE_S)


def context_of(traceparent: str) -> Context:
    """What names the span that is spoken of there; an empty context for what names none."""
    return _W3C.extract({"traceparent": traceparent}, _NOBODY)


def traceparent() -> str:
    """What names the current span to others; "" where there is none."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent", "")


def span(
    name: str, parent: Context | None = None, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
) -> AbstractContextManager[Span]:
    """A part of the `parent`, or else of the current span; where there is none, nothing begins.

    An error that passes through is named by its class alone: messages say what clients draw.
    """
    if not trace.get_current_span(parent).get_span_context().is_valid:
        return _NOTHING
    return _part(name, parent, kind, attributes)


def traced(name: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Have each call of the function be a span of this name."""

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @wraps(function)
        def call(*given: Given.args, **named: Given.kwargs) -> Result:
            with span(name):
                return function(*given, **named)

        return call

    return decorate


def fail(error_type: str) -> None:
    """Say that what the current span tells of has failed."""
    current = trace.get_current_span()
    current.set_attribute("error.type", error_type)
    current.set_status(StatusCode.ERROR)


@contextmanager
def _part(name: str, parent: Context | None, kind: SpanKind, attributes: Attributes | None) -> Iterator[Span]:
    with tracer.start_as_current_span(
        name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as part:
        try:
            yield part
        except Exception as error:
            fail(type(error).__name__)
            raise


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
