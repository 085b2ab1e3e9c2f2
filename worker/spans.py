"""What a worker adds to the trace that a job came with: its wait, the attempt, and the attempt's phases."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from services import tracing
from services.jobs.leases import Claim


@contextmanager
def attempt_span(claim: Claim) -> Iterator[Span]:
    """The attempt, below the wait that came before it; each further attempt has its own of both."""
    about: dict[str, str | int] = {
        "rarebit.job.id": claim.id,
        "rarebit.tenant": claim.tenant,
        "rarebit.attempt": claim.attempt,
    }
    queued_ns = round(1e9 * (claim.queued_at or claim.created_at).timestamp())
    parent = tracing.context_of(claim.traceparent)
    if trace.get_current_span(parent).get_span_context().is_valid:
        queue = tracing.tracer.start_span("queue", parent, attributes=about, start_time=queued_ns)
        queue.end()
        parent = trace.set_span_in_context(queue, parent)
    with tracing.span("attempt", parent, SpanKind.CONSUMER, about | {"rarebit.kind": claim.kind}) as span:
        yield span


class Phases:
    """The spans of an attempt's phases, one after the other, in the one thread that reports them."""

    def __init__(self) -> None:
        self._name, self._open = "", ExitStack()

    def enter(self, name: str) -> None:
        """The phase begins, unless it is the one that the attempt is in."""
        if name != self._name:
            self.leave()
            self._open.enter_context(tracing.span(name))
            self._name = name

    def leave(self) -> None:
        """The phase ends."""
        self._open.close()
        self._name = ""
