"""What the gateway takes and costs: throughput, open connections, and the service's overhead around the sampling."""

from collections.abc import Iterator
from itertools import chain

from tests.benchmarks import connections, overhead, throughput


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| | |"
    yield "|---|---|"
    for what, figures in chain(throughput.rows(), connections.rows(), overhead.rows()):
        yield f"| {what} | {figures} |"
