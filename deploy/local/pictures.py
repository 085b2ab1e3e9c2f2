"""Where pictures lie on disk."""

from pathlib import Path


def picture_paths(folder: Path, concept: str, count: int, suffix: str) -> list[Path]:
    """`folder`/concept-1.suffix and so on; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / f"{slug(concept)}-{index}.{suffix}" for index in range(1, count + 1)]


def slug(concept: str) -> str:
    """The concept as part of a file name."""
    return "".join(letter if letter.isalnum() else "-" for letter in concept.lower())[:100]
