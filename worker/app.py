"""One worker: load everything once, then take work until told to stop."""

import logging
import os
import socket
import sys
import time
from functools import partial
from typing import Any

from celery import Celery, signals
from kombu.connection import Connection
from redis import Redis
from redis.exceptions import RedisError

from services import logs, tracing
from services.diffusion.density.subject import Subject
from services.diffusion.runtime.device import gpu_uuid, peak_memory
from services.errors import NoStorageError, ServiceError, StorageError, StoreUnsafeError
from services.jobs.leases import Leases
from services.jobs.queue import RUN_TASK, celery_app
from services.jobs.store import connect, require_durable
from services.objects.storage import Storage, open_storage
from services.sampler.models import KEEP_PATIENCE_S, load_models
from services.settings import Settings, log_style
from services.texts.concepts import DEFAULT_PROMPT
from worker.energy import energy_of
from worker.fit_lock import fit_lock, owned
from worker.health import Health
from worker.heartbeat import BEATS, Heartbeat
from worker.meter import Meter
from worker.sweeper import Sweeper
from worker.tasks import Runner

OPTIONS = ("--pool=threads", "--without-gossip", "--without-mingle", "--loglevel=INFO")
BANNER = {"text": [], "json": ["--quiet"]}
RECONNECT_S = 5  # at most, between two looks for a Redis that is away
SWEEP_PATIENCE_S = 5.0  # with a store that is away: what it keeps is put off
logger = logging.getLogger(__name__)


def main(model: str | None = None) -> None:
    """Run until SIGTERM, for jobs of `model` or that of the settings; one sentence and exit code 1 when it cannot
    start."""
    logs.configure(style := log_style())
    try:
        tracing.configure("worker")
        app = build(Settings.read(**({"model": model} if model else {})))
    except ServiceError as error:
        logs.end(style, f"the worker cannot start: {error}")
    signals.worker_ready.connect(_announce, weak=False)
    if style == "json":
        sys.__stdout__ = None  # type: ignore[misc]  # where Celery says that it ends, past all logging
    try:
        app.worker_main([*BANNER[style], "worker", *OPTIONS])
    finally:
        tracing.close()


def build(settings: Settings) -> Celery:
    """The Celery app with its one task, everything that it needs loaded; the heartbeat runs."""
    client = connect(settings.redis_url)
    check_redis(client)
    storage = open_storage(settings)
    check_store(open_storage(settings, KEEP_PATIENCE_S))
    models = load_models(settings, storage)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    leases = Leases(
        client,
        worker=worker,
        lease_s=settings.lease_s,
        bounds=settings.bounds,
        model=settings.served_model,
        adopts_unnamed=settings.adopts_unnamed,
    )
    lock = partial(fit_lock, client, settings.lease_s)
    subjects, densities = [Subject(concept, DEFAULT_PROMPT) for concept in settings.preload], models.densities
    kept = partial(owned, leases, "", lock)
    preloaded = [densities.facts(subject, densities.get(subject, _silently, kept)) for subject in subjects]
    leases.serve(densities.family, preloaded)
    interval_s = settings.lease_s / BEATS
    health = Health(settings.health_file, interval_s)
    signals.worker_ready.connect(health.consumes, weak=False)
    signals.worker_shutting_down.connect(health.stops, weak=False)
    device = models.model.device
    meter = Meter(densities.lookups, energy_of(gpu_uuid(device)), partial(peak_memory, device))
    heartbeat = Heartbeat(leases, interval_s, health, meter)
    shutdown = Shutdown(settings.shutdown_grace_s)
    signals.worker_shutting_down.connect(shutdown.begin, weak=False)
    runner = Runner(
        leases,
        storage,
        models,
        heartbeat,
        fit_lock=lock,
        run_limit_s=settings.run_limit_s,
        stopping=shutdown.begun,
        hand_back=shutdown.grace_is_over,
        trials_at_once=settings.trials_at_once,
    )
    app = celery_app(settings)
    app.conf.worker_concurrency = models.jobs
    app.amqp.Connection = Broker
    app.task(runner.run_next, name=RUN_TASK)
    heartbeat.start()
    Sweeper(leases, open_storage(settings, SWEEP_PATIENCE_S), interval_s=settings.lease_s / 3).start()
    return app


class Shutdown:
    """What a signal asks of the worker: it claims no more, and its jobs have `grace_s` seconds to end by themselves."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._began: float | None = None

    def begin(self, **_: object) -> None:
        """Take Celery's signal `worker_shutting_down`; a second one changes nothing."""
        if self._began is None:
            self._began = time.monotonic()

    def begun(self) -> bool:
        """Whether no job is to be claimed any more."""
        return self._began is not None

    def grace_is_over(self) -> bool:
        """Whether the running jobs are to be handed back."""
        return self._began is not None and time.monotonic() >= self._began + self._grace_s


class Broker(Connection):
    """Celery's connection, which by itself waits longer each time, in the end 30 s, for a Redis that is away."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        options["interval_max"] = RECONNECT_S
        return super().ensure_connection(*arguments, **options)  # type: ignore[no-untyped-call]


def check_redis(client: Redis) -> None:
    """StoreUnsafeError unless Redis answers and is set up to lose no job."""
    try:
        require_durable(client.info())
    except RedisError as error:
        raise StoreUnsafeError(f"Redis does not answer: {error}") from error


def check_store(storage: Storage) -> None:
    """NoStorageError when the store is there and takes nothing; one that is away may be back before a job has ended."""
    try:
        storage.check()
    except NoStorageError:
        raise
    except StorageError as error:
        logger.warning("%s; the worker starts nevertheless", error)


def _announce(**_: object) -> None:
    """Tell the supervisor, if one asks, by systemd's sd_notify protocol, which deploy/local speaks too."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            client.send(b"READY=1")


def _silently(_phase: str, _step: int, _steps: int, _bits: float | None) -> None:
    """A report of work that no job waits for."""
