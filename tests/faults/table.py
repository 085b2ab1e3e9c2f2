"""The table of promises: what `@pytest.mark.fault(point, fault, promise)` says of a test, and how the test went."""

from collections.abc import Generator
from dataclasses import dataclass, field

import pytest

from tests.faults.page import publish

POINTS = ("none yet", "submitted", "queued", "claimed", "running", "outputs uploaded", "record written")
HEAD = ["| where the job is | what happens | promise | result |", "|---|---|---|---|"]


@dataclass
class Row:
    """One promise: how its tests ended, and what they measured."""

    outcomes: list[str] = field(default_factory=list)
    measured: dict[str, list[float]] = field(default_factory=dict)

    def add(self, report: pytest.TestReport) -> None:
        self.outcomes.append(report.outcome)
        for name, value in report.user_properties:
            self.measured.setdefault(name, []).append(float(value))

    @property
    def result(self) -> str:
        outcome = "**failed**" if "failed" in self.outcomes else max(self.outcomes)  # "skipped" hides no "passed"
        return "; ".join([outcome, *(f"{name} {_span(values)} s" for name, values in self.measured.items())])


class FaultTable:
    """A pytest plugin that publishes the rows in the order of a job's life."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], Row] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if (mark := item.get_closest_marker("fault")) and (report.when == "call" or not report.passed):
            self._rows.setdefault(mark.args, Row()).add(report)
        return report

    def pytest_terminal_summary(self) -> None:
        rows = sorted(self._rows, key=lambda row: next(n for n, point in enumerate(POINTS) if row[0].startswith(point)))
        publish("faults", HEAD + [f"| {' | '.join((*row, self._rows[row].result))} |" for row in rows])


def _span(values: list[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low}–{high}"
