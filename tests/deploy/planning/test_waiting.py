"""Laws of the simulated queue: theory where there is some, and more workers never make jobs wait longer."""

import json
import math
import random
import statistics

import pytest
from typer.testing import CliRunner

from deploy.local.cli import app
from deploy.local.planning.waiting import Job, arriving, fewest, p95, plan_of, waits


def erlang_c_wait(per_s: float, takes_s: float, workers: int) -> float:
    """The mean wait of an M/M/c queue (Erlang, 1917)."""
    load = per_s * takes_s
    top = load**workers / math.factorial(workers) * workers / (workers - load)
    waiting = top / (sum(load**k / math.factorial(k) for k in range(workers)) + top)
    return waiting * takes_s / (workers - load)


@pytest.mark.parametrize("workers", [1, 8])
def test_mean_wait_is_erlangs(workers):
    rng, per_s, takes_s = random.Random(1), 0.8 * workers / 10, 10.0
    durations = [rng.expovariate(1 / takes_s) for _ in range(20_000)]
    found = statistics.fmean(waits(arriving(60 * per_s, durations, rng, 50_000), workers))
    assert found == pytest.approx(erlang_c_wait(per_s, takes_s, workers), rel=0.15)


def test_a_wait_is_until_the_first_worker_is_free():
    jobs = [Job(0, 10), Job(0, 4), Job(1, 1), Job(2, 1), Job(20, 1)]
    assert list(waits(jobs, 2)) == [0, 0, 3, 3, 0]


def test_the_plan_has_no_worker_too_many():
    jobs = arriving(120, [10.0, 20.0], random.Random(2), 3000)
    found = fewest(jobs, 5)
    assert found.p95_wait_s <= 5 < plan_of(jobs, found.workers - 1).p95_wait_s
    assert found.busy == pytest.approx(30 / found.workers, rel=0.1)
    assert fewest(jobs, 5, at_once=4).workers == math.ceil(found.workers / 4)


def test_the_command_plans_with_given_times_and_with_those_that_were_measured(client, redis_url):
    words = ["plan", "--jobs-per-minute", "60", "--p95-wait", "10", "--json"]
    given = CliRunner().invoke(app, [*words, *["--job-seconds", "20"] * 3])
    client.lpush("{rarebit}:durations", *[20_000] * 3)
    client.zadd("{rarebit}:pools", {"large": 1})
    measured = CliRunner(env={"RAREBIT_REDIS_URL": redis_url}).invoke(app, words)
    client.lpush("{rarebit}:pool:large:durations", *[20_000] * 3)
    of_a_model = CliRunner(env={"RAREBIT_REDIS_URL": redis_url}).invoke(app, [*words, "--model", "large"])
    assert given.stdout == measured.stdout == of_a_model.stdout
    plans = json.loads(given.stdout)
    assert [plan["workers"] for plan in plans] == [plans[0]["workers"], plans[0]["workers"] - 1]
    assert plans[0]["p95_wait_s"] <= 10 < plans[1]["p95_wait_s"]
    assert p95([1.0]) == 1.0
