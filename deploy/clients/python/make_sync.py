"""Make `rarebit_client/_sync` from `_async`: the same words, without waiting."""

import subprocess
import sys
from pathlib import Path

from unasync import Rule, unasync_files

SOURCE = Path(__file__).parent / "rarebit_client" / "_async"
_WORDS = {
    "AsyncBaseTransport": "BaseTransport",
    "AsyncClient": "Client",
    "AsyncTransport": "Transport",
    "_async": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aconnect_sse": "connect_sse",
    "aiter_sse": "iter_sse",
    "anyio": "time",
    "aread": "read",
    "async_abandon": "abandon",
}


def make_sync(target: Path) -> None:
    """Write the modules for threads into the folder, formatted as the others are."""
    rule = Rule(str(SOURCE), str(target), _WORDS)
    unasync_files([str(path) for path in sorted(SOURCE.glob("*.py"))], [rule])
    for words in (["check", "--select", "I", "--fix"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, "--quiet", str(target)], check=True)


if __name__ == "__main__":
    make_sync(SOURCE.with_name("_sync"))
