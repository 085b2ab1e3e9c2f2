"""A hint that the store writes by itself is a message that Celery takes."""

import logging

import pytest
from celery.contrib.testing.worker import start_worker

from servers import eventually
from services.jobs.leases import Leases
from services.jobs.queue import HINTS, RUN_TASK, celery_app, queue_of
from tests.accepted import accepted


@pytest.mark.parametrize("model", ["rarebit", "large"])
async def test_worker_runs_its_task_once_for_each_submitted_job_of_its_model(jobs, settings, redis_url, client, model):
    app = celery_app(settings.model_copy(update={"models": ["rarebit", "large"], "model": model}))
    leases, hints = Leases(client, worker="w", lease_s=30, model=model), queue_of(model).replace("run", HINTS, 1)
    claims = []

    @app.task(name=RUN_TASK, shared=False)
    def run():
        claims.append(leases.claim())

    requests = [accepted(concept="lamp", model=name) for name in ("rarebit", "large") for _ in range(3)]
    made = [(await jobs.submit(request, keep_s=60, max_queued=9)).id for request in requests]
    submitted = [job_id for job_id, request in zip(made, requests, strict=True) if request.model == model]
    with start_worker(app, pool="threads", concurrency=1, perform_ping_check=False, shutdown_timeout=30):
        assert eventually(lambda: len(claims) == 3, limit_s=30)
        assert eventually(lambda: not client.llen(hints) and not client.hlen("{rarebit}.unacked"))
    assert [claim.id for claim in claims] == submitted
    assert logging.root.level == logging.WARNING  # or tests after this one would see no warnings


@pytest.mark.parametrize("run_limit_s", [60, 86400])
def test_hint_is_not_delivered_again_while_its_job_may_still_run(settings, run_limit_s):
    options = celery_app(settings.model_copy(update={"run_limit_s": run_limit_s})).conf.broker_transport_options
    assert options["visibility_timeout"] > run_limit_s
