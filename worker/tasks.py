"""Job ↔ domain: claim, density, pictures, upload, and one final state whatever happens."""

import logging
import time
from collections.abc import Callable
from functools import partial

from opentelemetry.trace import StatusCode
from redis import exceptions as redis_errors
from redis.exceptions import RedisError

from services import tracing
from services.diffusion.density.subject import Subject
from services.diffusion.generate import Generation, generate
from services.diffusion.run import Output, Run
from services.diffusion.runtime.batching import TRIALS
from services.diffusion.runtime.memory import free_memory, is_out_of_memory
from services.errors import LeaseLostError, ServiceError, StorageError, UnreadableError
from services.exposure import Feedback, View
from services.jobs.leases import Claim, Leases
from services.jobs.record import JobError, JobStatus, StoredOutput
from services.logs import about
from services.objects.keys import attempt_prefix
from services.objects.storage import Storage
from services.sampler.densities import Artefact, FitLock
from services.sampler.models import Models
from services.sampler.requests import config_of
from worker.attempt import Attempt, Canceled, HandedBack, attempt_span
from worker.capacity import Capacity
from worker.fit_lock import owned
from worker.heartbeat import Heartbeat
from worker.publish import upload
from worker.references import References
from worker.savepoints import Savepoints

END_LIMIT_S = 120.0  # how long a finished run waits for Redis to take its result
_END_PAUSE_S = 0.5
_REDIS_AWAY = (redis_errors.ConnectionError, redis_errors.TimeoutError)  # when the run needed it: no fault of the job
logger = logging.getLogger(__name__)

Ending = Callable[[], JobStatus]


class Runner:
    """Runs jobs with models that are already loaded, each in the thread that asks for the next one."""

    def __init__(
        self,
        leases: Leases,
        storage: Storage,
        models: Models,
        heartbeat: Heartbeat,
        *,
        fit_lock: FitLock,
        run_limit_s: float,
        stopping: Callable[[], bool],
        hand_back: Callable[[], bool],
        trials_at_once: int = TRIALS,
    ) -> None:
        self._leases = leases
        self._storage = storage
        self._models = models
        self._references = References(models.model, models.safety, storage, leases)
        self._heartbeat = heartbeat
        self._fit_lock = fit_lock
        self._run_limit_s = run_limit_s
        self._stopping = stopping
        self._hand_back = hand_back
        self._capacity = Capacity(trials_at_once)

    def run_next(self) -> None:
        """Claim the next job, if there is one, and run it to its end; harmless to call too often, and from threads."""
        if (claim := self._capacity.claim(self._leases, self._stopping)) is None:
            return
        try:
            with about(job=claim.id, tenant=claim.tenant), attempt_span(claim) as span:
                span.set_attribute("rarebit.status", status := self._run(claim))
                if status == JobStatus.FAILED:
                    span.set_status(StatusCode.ERROR)
        finally:
            self._capacity.leave(claim)

    def _run(self, claim: Claim) -> str:
        """What has become of the job, or of the attempt."""
        attempt = Attempt(
            self._leases,
            claim,
            limit_s=self._run_limit_s,
            hand_back=self._hand_back,
            safety=self._models.safety,
        )
        with self._heartbeat.keeping(attempt):
            try:
                ending = self._ending(attempt)
                attempt.phases.leave()
                status: str = _patiently(ending)
            except LeaseLostError as error:
                status = str(error)
                self._discard(claim)
        logger.info("job %s: attempt %d: %s", claim.id, claim.attempt, status)
        return status

    def _ending(self, attempt: Attempt) -> Ending:
        """Run the attempt; answers with the one write that ends it."""
        claim = attempt.claim
        try:
            if claim.kind == "density_model":
                self._fit(attempt)
                return lambda: self._leases.succeed(claim, [], [], attempt.metrics)
            generation = self._generate(attempt).withhold(self._models.safety)
            outputs = self._upload(attempt, generation)
            views = views_of(claim, generation.outputs)
            return lambda: self._leases.succeed(claim, outputs, generation.warnings, attempt.metrics, views)
        except Canceled:
            return lambda: self._leases.end_canceled(claim, attempt.metrics)
        except (HandedBack, *_REDIS_AWAY):
            return lambda: self._leases.hand_back(claim)
        except Exception as error:
            failure = describe(error)
            tracing.fail(failure.code)
            told = failure.detail if failure.code == "internal" else str(error)
            logger.warning("job %s: %s", claim.id, told, exc_info=failure.code == "internal")
            if failure.code == "out_of_memory":
                free_memory(error)
            return lambda: self._leases.fail(claim, failure, attempt.metrics)

    def _discard(self, claim: Claim) -> None:
        """Erase what a superseded attempt has stored; what a record may name is left to the record's own sweep."""
        try:
            record = self._leases.find(claim.id)
            if record is None or record.attempt != claim.attempt:
                self._storage.delete(attempt_prefix(claim.id, claim.attempt))
        except (RedisError, StorageError, UnreadableError) as error:
            logger.warning("job %s: outputs of attempt %d stay until it expires: %s", claim.id, claim.attempt, error)

    def _fit(self, attempt: Attempt) -> None:
        """Have the density stored and told of, whatever this worker and the store had of it."""
        attempt.report("load", 0, 1, None)
        begin = time.perf_counter()
        self._models.densities.keep(self._density(attempt, self._references.subject(attempt.request)))
        attempt.metrics.fit_ms = _ms_since(begin)

    def _density(self, attempt: Attempt, subject: Subject) -> Artefact:
        """The density of what is to be drawn, which the record names from now on."""
        picture = "" if subject.start is None else attempt.request.picture_prefix
        lock = partial(owned, self._leases, picture, self._fit_lock)
        artefact = self._models.densities.get(subject, attempt.report, lock, picture)
        attempt.name_density(self._models.densities.facts(subject, artefact), listed=subject.start is None)
        return artefact

    def _generate(self, attempt: Attempt) -> Generation:
        run = self._prepare(attempt)
        savepoint = Savepoints(self._leases, self._storage, attempt.claim).open()
        generation = generate(run, attempt.report, savepoint, attempt.observe, self._models.batching)
        for name, value in generation.timings_ms.items():
            setattr(attempt.metrics, f"{name}_ms", value)
        return generation

    def _prepare(self, attempt: Attempt) -> Run:
        """What the pictures depend on, looked up and, where it is new, fitted."""
        request, models = attempt.request, self._models
        attempt.report("load", 0, 1, None)
        models.model.decoder.settings(request.size, request.decoder_steps, request.guidance_scale)  # or no fit
        begin = time.perf_counter()
        found = self._references.found(request)
        subject = self._references.subject(request, found)
        density = self._density(attempt, subject).density
        steering = self._references.steering(attempt.claim, density, subject, attempt.report)
        attempt.metrics.fit_ms = _ms_since(begin)
        return Run(models.model, density, models.checker, subject, config_of(request), steering, found)

    def _upload(self, attempt: Attempt, generation: Generation) -> list[StoredOutput]:
        begin = time.perf_counter()
        outputs = upload(self._storage, attempt.claim, generation.outputs, attempt.report)
        attempt.metrics.upload_ms = _ms_since(begin)
        return outputs


def views_of(claim: Claim, outputs: list[Output]) -> list[View]:
    """The outputs as their user's history has them: shown, and not judged yet."""
    concept = claim.request.concept
    return [
        View.of(f"{claim.id}/{i}", concept, Feedback.NEUTRAL, found.image_embeds.numpy().tobytes(), found.facts.model)
        for i, found in enumerate(output.found for output in outputs)
    ]


def describe(error: Exception) -> JobError:
    """What the client is told: a stable code, and no more than we meant to say."""
    if isinstance(error, ServiceError):
        return JobError(code=error.code, title=error.title, detail=error.told)
    if is_out_of_memory(error):
        return JobError(
            code="out_of_memory", title="The job needs more memory", detail="Ask for fewer trials or a smaller size."
        )
    return JobError(code="internal", title="The service failed", detail=f"The worker met a {type(error).__name__}.")


def _patiently(ending: Ending) -> JobStatus:
    """Write the ending, waiting for Redis if need be; what cannot be written is the next attempt's."""
    deadline = time.monotonic() + END_LIMIT_S
    while True:
        try:
            return ending()
        except RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_END_PAUSE_S)


def _ms_since(begin: float) -> int:
    return round(1000 * (time.perf_counter() - begin))
