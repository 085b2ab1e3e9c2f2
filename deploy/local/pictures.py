"""Pictures on disk: where they lie, and what is said of them."""

from collections.abc import Iterable
from pathlib import Path

_NAME_BYTES = 200  # a number and a suffix follow


def picture_paths(folder: Path, concept: str, count: int, suffix: str) -> list[Path]:
    """`folder`/concept-1.suffix and so on; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / f"{slug(concept)}-{index}.{suffix}" for index in range(1, count + 1)]


def slug(concept: str) -> str:
    """The concept as part of a file name, of which file systems take 255 bytes."""
    letters = "".join(letter if letter.isalnum() else "-" for letter in concept.lower())
    return letters.encode()[:_NAME_BYTES].decode(errors="ignore")


def validity_in_words(validity: float | None) -> str:
    """How sure the judge is of the concept, from 0 to 1; None where it cannot tell."""
    return "validity unknown" if validity is None else f"{validity:.0%} valid"


def warning_lines(warnings: Iterable[str]) -> list[str]:
    """The warnings of a job as commands print them."""
    return [f"warning: {warning}" for warning in warnings]
