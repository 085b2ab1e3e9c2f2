"""docs/lifetimes.md as patterns: which of its rows a key of Redis or an object belongs to."""

import re
from functools import cache
from pathlib import Path

import redis

PAGE = Path(__file__).parents[1] / "docs/lifetimes.md"
_LONG = {"PREFIX", "KEY", "LIMITER", "CELERY"}  # what they stand for may have anything in it


@cache
def rows() -> dict[str, re.Pattern[str]]:
    """Patterns as the page has them; the most literal first."""
    cells = re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(), re.MULTILINE)
    patterns = {pattern for cell in cells for pattern in re.findall(r"`([^`]+)`", cell)}
    return {row: _compiled(row) for row in sorted(patterns, key=lambda row: -len(re.sub("[A-Z]+", "", row)))}


def row_of(key: str) -> str | None:
    """The row of the key; None where the page does not tell of it."""
    return next((row for row, pattern in rows().items() if pattern.fullmatch(key)), None)


def untold(url: str) -> list[str]:
    """Keys on the server that the page does not tell of."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return [key for key in client.scan_iter(count=1000) if row_of(key) is None]


def _compiled(row: str) -> re.Pattern[str]:
    def what_stands_here(word: re.Match[str]) -> str:
        return ".*" if word[0] in _LONG else "[^:/]*"

    return re.compile(re.sub("[A-Z]+", what_stands_here, re.escape(row)), re.DOTALL)
