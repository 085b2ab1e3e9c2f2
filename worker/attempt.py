"""One attempt at a job: it publishes each step under its fence and learns there whether to go on."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from redis.exceptions import RedisError

from services import tracing
from services.density_models import DensityFacts
from services.diffusion.checkers.safety import SafetyChecker
from services.diffusion.runtime.observer import Snapshot
from services.errors import ServiceError
from services.jobs.leases import Claim, Leases
from services.jobs.record import JobStatus, Metrics, Phase, Progress, TrialProgress
from worker.previews import Previews

logger = logging.getLogger(__name__)


class Canceled(Exception):  # noqa: N818  no error: the client asked for it
    """The job is to stop."""


class HandedBack(Exception):  # noqa: N818  no error: the worker is shutting down
    """Another worker is to run the job."""


class RunDeadlineError(ServiceError):
    """The run took longer than it may, all its attempts together."""

    code = "run_deadline"
    title = "The run took too long"


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


class Attempt:
    """A claimed job, its deadline and where its time goes."""

    def __init__(
        self,
        leases: Leases,
        claim: Claim,
        *,
        limit_s: float,
        hand_back: Callable[[], bool],
        safety: SafetyChecker | None,
    ) -> None:
        self.claim = claim
        self.request = claim.request
        self.metrics = Metrics(queue_ms=claim.queue_ms, attempts=claim.attempt)
        self.last_step = time.monotonic()
        self.phases = Phases()
        self._leases = leases
        self._limit_s = min(limit_s, claim.request.run_within or limit_s)
        self._deadline = time.monotonic() + self._limit_s - claim.ran_ms / 1000
        self._hand_back = hand_back
        self._snapshots: Sequence[Snapshot] = ()
        self._previews = Previews(safety)

    def observe(self, step: int, snapshots: Sequence[Snapshot]) -> None:
        """See the trials, which the report of their step publishes."""
        self._snapshots = snapshots
        self._previews.see(step, snapshots)

    def report(self, phase: str, step: int, steps: int, rarity_bits: float | None) -> None:
        """Publish the step; raises what stops the run: Canceled, HandedBack, RunDeadlineError or LeaseLostError.

        While Redis is away the run goes on unseen: the fence decides at the next write.
        """
        self.last_step = time.monotonic()
        self.phases.enter(phase)
        if self._hand_back():
            raise HandedBack
        if self.last_step > self._deadline:
            raise RunDeadlineError(f"the run took longer than {self._limit_s:g} s, in phase {phase}{self._climbed()}")
        try:
            progress = Progress(phase=cast(Phase, phase), step=step, steps=steps, rarity_bits=rarity_bits)
            trials = [described(snapshot) for snapshot in self._snapshots] if phase == "optimize" else []
            status, self._previews.wanted = self._leases.progress(self.claim, progress, trials)
            if preview := self._previews.due():
                self._leases.show(self.claim, preview)
        except RedisError as error:
            logger.warning("job %s: step not published: %s", self.claim.id, error)
            return
        if status is JobStatus.CANCELING:
            raise Canceled

    def _climbed(self) -> str:
        """How far up the ladder the leading trials are, if there is one."""
        passed = sorted((s.climbed for s in self._snapshots if s.climbed is not None), reverse=True)
        leading, rungs = passed[: self.request.count], len(self.request.rarity.ladder or [])
        return f"; its columns had passed {', '.join(map(str, leading))} of {rungs} rungs" if leading else ""

    def name_density(self, density: DensityFacts, *, listed: bool) -> None:
        """Say which density the job has, a text's if it is `listed`, unless Redis is away: the run can do without."""
        try:
            if listed:
                self._leases.use_density(density.key)
            self._leases.name_density(self.claim, density, listed=listed)
        except RedisError as error:
            logger.warning("job %s: its density is not named: %s", self.claim.id, error)


def described(snapshot: Snapshot) -> TrialProgress:
    """The trial as the wire has it: two decimals are what a plot can show."""
    validity = None if snapshot.validity is None else round(snapshot.validity, 3)
    x, y = round(snapshot.x, 2), round(snapshot.y, 2)
    bits = round(snapshot.bits, 2)
    return TrialProgress(bits=bits, validity=validity, x=x, y=y, state=snapshot.state, climbed=snapshot.climbed)


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
