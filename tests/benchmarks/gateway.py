"""What the gateway takes, costs and promises: throughput, connections, ETAs, and overhead around the sampling."""

from collections.abc import Iterator
from itertools import chain

from tests.benchmarks import connections, overhead, promises, throughput


def lines() -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| | |"
    yield "|---|---|"
    for what, figures in chain(throughput.rows(), connections.rows(), promises.rows(), overhead.rows()):
        yield f"| {what} | {figures} |"
