"""The embedded checkpoint with a small density, and one small evaluation of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.evaluate.methods import METHODS
from deploy.evaluate.plan import Plan
from deploy.evaluate.run import evaluate
from deploy.local import in_process
from services.sampler.models import Models


def silent(_phase: str, _step: int, _steps: int, _bits: float | None) -> None:
    """A report that goes nowhere."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose densities are of 300 samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAREBIT_DENSITY_SAMPLES", "300")
        yield tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def models(data: Path) -> Models:
    return in_process.load(data)


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Every method on two concepts, as little of each as there can be."""
    return Plan(
        methods=list(METHODS),
        concepts=["handbag", "cup"],
        images=2,
        groups=1,
        percentile=90.0,
        steps=2,
        published_steps=3,
        reference=2,
    )


@pytest.fixture(scope="session")
def finished(plan: Plan, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that plan's report."""
    out = tmp_path_factory.mktemp("report")
    evaluate(plan, out, data, silent)
    return out
