"""What the chart's Job and its test run does to a real gateway what it is for."""

import os
import subprocess
import sys

import pytest

from chart import CASES, of_kind
from servers import eventually, served
from services.jobs.record import Metrics

CASE = next(case for case in CASES if case.stem == "h100")


@pytest.fixture
def run(app):
    """Starts a container's program against a gateway."""
    with served(app) as url:

        def run(container):
            command = [sys.executable, *container["command"][1:], *container.get("args", [])]
            return subprocess.Popen(command, env=os.environ | {"RAREBIT_URL": url}, stdout=subprocess.PIPE, text=True)

        yield run


def test_fit_asks_for_each_of_its_concepts(run, leases):
    [job] = of_kind(CASE, "Job")
    with run(job["spec"]["template"]["spec"]["containers"][0]) as fits:
        assert fits.wait(30) == 0
    asked = [leases.claim() for _ in range(3)]
    assert [(claim.kind, claim.request.concept) for claim in asked] == [
        ("density_model", concept) for concept in ("handbag", "chair", "office chair")
    ]


def test_test_succeeds_when_its_job_does(run, leases):
    [pod] = of_kind(CASE, "Pod")
    with run(pod["spec"]["containers"][0]) as test:
        assert eventually(leases.waiting, 30)
        leases.succeed(leases.claim(), [], [], Metrics())
        assert test.wait(30) == 0
