"""Laws of `make gpu-check`: it says what is wrong, what it had no time for, and what it knows, at any moment."""

import json
import sys

import pytest
import torch

from tests.benchmarks import gpu_check
from tests.benchmarks.findings import Findings
from tests.device_jobs import JOBS, Outcome


@pytest.fixture
def findings(tmp_path) -> Findings:
    return Findings(tmp_path / "new", "check", {"device": "none"})


def found(tmp_path) -> dict:
    return json.loads((tmp_path / "new/check.json").read_text())["parts"]


def test_both_files_hold_every_row_as_soon_as_it_is_known(findings, tmp_path):
    findings.add("costs", {"name": "a step", "result": "ok", "seconds": 0.51234})
    assert found(tmp_path) == {"costs": [{"name": "a step", "result": "ok", "seconds": 0.51234}]}
    findings.add("costs", {"name": "a | decode", "result": "failed"})
    assert [row["name"] for row in found(tmp_path)["costs"]] == ["a step", "a | decode"]
    assert findings.markdown.read_text().splitlines()[-4:] == [
        "| name | result | seconds |",
        "| --- | --- | --- |",
        "| a step | ok | 0.5123 |",
        "| a / decode | failed |  |",
    ]


def raising(error: Exception):
    def work():
        raise error

    return work


def test_what_there_was_no_time_for_is_named_and_is_not_wrong(findings):
    late = gpu_check.attempted("late", raising(ValueError("never")), until=0.0)
    slow = gpu_check.attempted("slow", raising(TimeoutError("decode 3/50 after 9.0 s")), until=torch.inf)
    failed = gpu_check.attempted(
        "failed", raising(ValueError("the replayed picture differs\nand more")), until=torch.inf
    )
    assert late["result"] == "not in the time"
    assert slow["result"] == "not in the time: decode 3/50 after 9.0 s"
    assert failed["result"] == "failed: ValueError: the replayed picture differs"
    for row in (late, slow, failed):
        findings.add("costs", row)
    assert findings.wrong == ["failed"]


@pytest.mark.parametrize(
    "other",
    [
        Outcome(torch.tensor([[1.0, 0.05]]), [1.0], [0.5]),
        Outcome(torch.tensor([[1.0, 0.0]]), [1.3], [0.5]),
        Outcome(torch.tensor([[1.0, 0.0]]), [1.0], [0.52]),
        Outcome(torch.tensor([[1.0, 0.0]]), [torch.nan], [0.5]),
    ],
)
def test_embeddings_rarities_and_probabilities_are_held_to_their_tolerances(other):
    own = Outcome(torch.tensor([[1.0, 0.0]]), [1.0], [0.5])
    assert own.difference(own).small
    assert not own.difference(other).small


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit, match=r"^The GPU check needs a CUDA device, and there is none here\.$"):
        gpu_check.main()


@pytest.mark.slow
def test_a_rehearsal_comes_to_the_end_of_every_line(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--rehearse", "--out", str(tmp_path)])
    gpu_check.main()
    parts = json.loads((tmp_path / "gpu-check.json").read_text())["parts"]
    assert {row["result"] for rows in parts.values() for row in rows} == {"ok"}
    assert [row["name"] for row in parts["features"]] == list(JOBS)
    assert [row["pictures"] for row in parts["a job of four"]] == [4, 4]
    assert all(row["looked at"] >= 20 for row in parts["a job of four"])
    assert len(parts["costs"]) == 5
    assert len(parts["as workers have it"]) == 1 + 2 + 2
