"""What a look has found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line: `what` was looked at, what is `told` of it and, unless it is ok, what to `do`."""

    what: str
    state: Literal["ok", "warning", "failure"]
    told: str
    do: str = ""


def ok(what: str, told: str) -> Finding:
    """It is as it should be."""
    return Finding(what, "ok", told)


def warning(what: str, told: str, do: str) -> Finding:
    """The service works, perhaps otherwise than is meant."""
    return Finding(what, "warning", told, do)


def failure(what: str, told: str, do: str) -> Finding:
    """Some of the service does not work."""
    return Finding(what, "failure", told, do)
