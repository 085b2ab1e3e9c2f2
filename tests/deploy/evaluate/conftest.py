"""The embedded checkpoint with a small density, and one small evaluation of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.evaluate.methods import METHODS
from deploy.evaluate.plan import Plan
from deploy.evaluate.run import evaluate
from deploy.local import in_process
from worker.models import Models

DECODER = Path(__file__).parents[3] / "deploy/checkpoints/rarebit-mini/decoder"


def silent(_phase: str, _step: int, _steps: int, _bits: float | None) -> None:
    """A report that goes nowhere."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose densities are of 500 samples, for a decoder that draws small and in two steps."""
    decoder = tmp_path_factory.mktemp("checkpoint") / "decoder"
    shutil.copytree(DECODER, decoder)
    quick = {"size": 64, "num_inference_steps": 2, "guidance_scale": 1.0}
    (decoder / "defaults.json").write_text(json.dumps(quick))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAREBIT_DENSITY_SAMPLES", "500")
        patch.setenv("RAREBIT_DECODER", str(decoder))
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
