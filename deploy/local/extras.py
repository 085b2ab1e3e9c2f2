"""What is left out of an installation that does not need it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Around imports: end with one sentence and exit code 1 when a package of the extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.exit(f"rarebit: there is no package {error.name}: pip install 'rarebit[{extra}]'")
