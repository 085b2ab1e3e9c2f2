"""A small soak; `make soak` runs the large one."""

import pytest

from tests.faults import soak


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_left_over_while_workers_and_redis_die():
    report = soak.run(soak.Plan(jobs=150, workers=2, lease_s=3, sampler_s=0.1, kill_every_s=1.5, redis_deaths=1))
    assert report.audit.faults == {}
    assert report.worker_deaths > 0
    assert sum(report.audit.endings.values()) == report.plan.jobs
