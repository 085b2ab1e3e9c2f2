"""What has been pulled: folders with a list of their files that `sha256sum -c SHA256SUMS` reads, too."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Sums:
    """Which commit of which repository a folder has; it is the first line of its list."""

    repository: str
    commit: str


def write_sums(folder: Path, sums: Sums) -> None:
    """List every file in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"# {sums.repository} {sums.commit}"]
    lines += [f"{digest_of(path)}  {path.relative_to(folder).as_posix()}" for path in paths]
    (folder / SUMS).write_text("\n".join(lines) + "\n")


def read_sums(folder: Path) -> Sums | None:
    """None where nothing has been pulled."""
    if not (folder / SUMS).exists():
        return None
    _, repository, commit = (folder / SUMS).read_text().splitlines()[0].split()
    return Sums(repository, commit)


def pulled_folders(models: Path) -> list[Path]:
    """Each repository and revision, by name; drafts of what is being pulled are hidden."""
    folders = sorted(path.parent for path in models.rglob(SUMS))
    return [folder for folder in folders if not folder.relative_to(models).parts[0].startswith(".")]


def damaged_files(folder: Path) -> Iterator[str]:
    """Files of the list that are missing, or are not what was pulled."""
    for line in (folder / SUMS).read_text().splitlines()[1:]:
        digest, path = line.split("  ", 1)
        if not (folder / path).exists() or digest_of(folder / path) != digest:
            yield path


def size_of(folder: Path) -> int:
    """Bytes of all its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
