"""Any sequence of calls leaves the store where a plain model of it stands."""

import asyncio
import time
from collections import Counter

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import settings as limits
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from services.errors import JobNotFoundError, LeaseLostError, NotQuarantinedError
from services.jobs.leases import Leases
from services.jobs.lifecycle import Jobs
from services.jobs.quarantine import Quarantine
from services.jobs.record import JobError, Metrics
from services.jobs.store import connect, connect_async
from tests.accepted import accepted

MODELS = ("rarebit", "large")
ERROR = JobError(code="internal", title="The service failed", detail="on purpose")


class Model(RuleBasedStateMachine):
    """Statuses as a dict in the order of submission, by model in `models`; who may write is the claim last given for
    a job.

    `dying` are the jobs whose lease has run out, `losses` how many workers died with each.
    """

    redis_url = ""
    submitted, claims = Bundle("submitted"), Bundle("claims")

    def __init__(self):
        super().__init__()
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()
        self.loop = asyncio.Runner()
        self.async_client, self.client = connect_async(self.redis_url), connect(self.redis_url)
        self.jobs, self.leases = Jobs(self.async_client), Leases(self.client, worker="w", lease_s=60)
        workers = {
            (model, dies): ("d" if dies else "w", 0 if dies else 60) for model in MODELS for dies in (True, False)
        }
        self.workers = {
            (model, dies): Leases(self.client, worker=f"{name}-{model}", lease_s=lease_s, model=model)
            for (model, dies), (name, lease_s) in workers.items()
        }
        self.quarantine = Quarantine(self.async_client)
        self.statuses, self.owners, self.models = {}, {}, {}
        self.dying, self.losses, self.quarantined = set(), Counter(), set()

    def teardown(self):
        self.loop.run(self.async_client.aclose())
        self.loop.close()
        self.client.close()

    @rule(target=submitted, model=st.sampled_from(MODELS))
    def submit(self, model):
        job_id = self.loop.run(self.jobs.submit(accepted(concept="lamp", model=model), keep_s=60, max_queued=99)).id
        self.statuses[job_id], self.models[job_id] = "queued", model
        return job_id

    @rule(target=submitted)
    def submit_what_nobody_starts_in_time(self):
        request = accepted(concept="lamp", start_within=0.001)
        job_id = self.loop.run(self.jobs.submit(request, keep_s=60, max_queued=99)).id
        time.sleep(0.003)
        self.statuses[job_id], self.models[job_id] = "failed", "rarebit"
        return job_id

    @rule(target=claims, dies=st.booleans(), model=st.sampled_from(MODELS))
    def claim(self, dies, model):
        queued = (job_id for job_id, status in self.statuses.items() if status == "queued")
        waiting = [job_id for job_id in queued if self.models[job_id] == model]
        claim = self.workers[model, dies].claim()
        assert (claim and claim.id) == (waiting[0] if waiting else None)
        if claim is None:
            return multiple()
        self.statuses[claim.id], self.owners[claim.id] = "running", claim
        if dies:
            self.dying.add(claim.id)
        return claim

    @rule(claim=claims, write=st.sampled_from(["renew", "succeed", "fail", "hand_back"]))
    def write(self, claim, write):
        arguments = {"succeed": ([], [], Metrics()), "fail": (ERROR, Metrics())}.get(write, ())
        status = self.statuses.get(claim.id)
        if status not in {"running", "canceling"} or self.owners[claim.id] != claim:
            with pytest.raises(LeaseLostError):
                getattr(self.leases, write)(claim, *arguments)
            return
        after = {"renew": status, "succeed": "succeeded", "fail": "failed", "hand_back": "queued"}[write]
        self.statuses[claim.id] = "canceled" if status == "canceling" and write != "renew" else after
        self.dying.discard(claim.id)
        assert getattr(self.leases, write)(claim, *arguments) == self.statuses[claim.id]

    @rule()
    def recover(self):
        assert set(self.leases.recover()) == self.dying
        for job_id in self.dying:
            self.statuses[job_id] = self.after_a_loss(job_id)
        self.dying.clear()

    def after_a_loss(self, job_id):
        if self.statuses[job_id] == "canceling":
            return "canceled"
        self.losses[job_id] += 1
        if self.losses[job_id] < 2:
            return "queued"
        self.quarantined.add(job_id)
        return "failed"

    @rule(target=submitted, job_id=submitted)
    def replay(self, job_id):
        if job_id not in self.quarantined:
            with pytest.raises(NotQuarantinedError):
                self.loop.run(self.quarantine.replay(job_id, max_queued=99))
            return multiple()
        new = self.loop.run(self.quarantine.replay(job_id, max_queued=99))[0].id
        self.quarantined.remove(job_id)
        self.statuses[new], self.models[new] = "queued", self.models[job_id]
        return new

    @rule(job_id=submitted)
    def cancel(self, job_id):
        status = self.statuses[job_id]
        self.statuses[job_id] = {"queued": "canceled", "running": "canceling"}.get(status, status)
        assert self.loop.run(self.jobs.cancel(job_id))[0].status == self.statuses[job_id]

    @rule(job_id=consumes(submitted))
    def delete(self, job_id):
        self.loop.run(self.jobs.delete(job_id))
        del self.statuses[job_id]
        self.dying.discard(job_id)
        self.quarantined.discard(job_id)
        with pytest.raises(JobNotFoundError):
            self.loop.run(self.jobs.get(job_id))

    @rule()
    def compare(self):
        listed, *_ = self.loop.run(self.jobs.list(status=None, before=None, limit=100))
        assert {record.id: record.status for record, _ in listed} == self.statuses
        assert [record.id for record, _ in listed] == list(self.statuses)[::-1]
        kept, *_ = self.loop.run(self.quarantine.list(before=None, limit=100))
        assert [record.id for record, _ in kept] == [job for job in self.statuses if job in self.quarantined][::-1]
        stats, counts = self.loop.run(self.jobs.stats()), Counter(self.statuses.values())
        assert sum(pool.waiting["normal"] for pool in stats.pools.values()) == counts["queued"]
        assert sum(pool.jobs_running for pool in stats.pools.values()) == counts["running"] + counts["canceling"]
        assert stats.figures["jobs_quarantined"] == len(self.quarantined)


def test_store_agrees_with_the_model(redis_url):
    Model.redis_url = redis_url
    run_state_machine_as_test(Model, settings=limits(max_examples=25, stateful_step_count=30, deadline=None))


def test_store_agrees_with_the_model_in_a_cluster(cluster_url):
    """Every key lies in one slot: a script that touched another one would be refused."""
    Model.redis_url = cluster_url
    run_state_machine_as_test(Model, settings=limits(max_examples=10, stateful_step_count=30, deadline=None))
