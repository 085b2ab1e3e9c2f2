"""The numbers of the chart's ScaledObject, against loads that rise, stop and begin while models are slow to load."""

import itertools
import random
import re

import pytest

from chart import CASES, of_kind
from deploy.local.planning.waiting import Job, arriving, p95, waits
from tests.deploy.helm.autoscaler import Numbers, scaled

H100 = next(case for case in CASES if case.stem == "h100")
AT_ONCE = 4
NIGHT_S = 3600


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    [scaled_object] = of_kind(H100, "ScaledObject")
    [trigger] = scaled_object["spec"]["triggers"]
    within = re.search(r"/ (\d+) \+", trigger["metadata"]["query"])
    return Numbers.read(scaled_object["spec"], float(within[1]))


def evening_and_morning(per_minute: float, seed: int) -> list[Job]:
    """Half an hour of work, an hour without any, and half an hour of work."""
    day = arriving(per_minute, [20.0], random.Random(seed), int(30 * per_minute))
    gap_s = day[-1].arrives_s + NIGHT_S
    return day + [Job(job.arrives_s + gap_s, job.takes_s) for job in day]


@pytest.mark.parametrize("load_s", [30, 300], ids=["quick load", "slow load"])
def test_a_night_has_no_workers_and_the_morning_waits_for_the_first_alone(numbers, load_s):
    jobs = evening_and_morning(20, 1)
    found = scaled(jobs, numbers, load_s, AT_ONCE)
    assert 0 in found.workers[len(found.workers) // 3 : -len(found.workers) // 3]
    assert max(found.workers) <= numbers.most
    assert max(found.waits_s) <= load_s + 2 * numbers.start_within_s + 15
    late = found.waits_s[len(jobs) // 4 : len(jobs) // 2]  # the second half of the evening
    assert p95(late) <= numbers.start_within_s


def test_a_burst_is_over_not_much_later_than_with_all_workers_from_the_first(numbers):
    jobs = [Job(0, 20)] * 400
    all_from_the_first = max(waits(jobs, numbers.most * AT_ONCE))
    found = scaled(jobs, numbers, 60, AT_ONCE)
    assert max(found.workers) == numbers.most
    assert max(found.waits_s) <= all_from_the_first + 60 + 180


def test_a_steady_load_changes_no_workers_to_and_fro(numbers):
    jobs = arriving(30, [20.0], random.Random(3), 1800)
    found = scaled(jobs, numbers, 60, AT_ONCE)
    steady = found.workers[len(found.workers) // 3 : 9 * len(found.workers) // 10]
    turns = sum(a != b for a, b in itertools.pairwise(steady))
    assert turns <= len(steady) / 20
    assert p95(found.waits_s[len(jobs) // 3 :]) <= numbers.start_within_s
