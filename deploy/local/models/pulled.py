"""What has been pulled: folders with a list of their files that `sha256sum -c SHA256SUMS` reads, too."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

SUMS = "SHA256SUMS"


def write_sums(folder: Path, repository: str, commit: str) -> None:
    """List every file in the folder, below what it is a commit of."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{digest_of(path)}  {path.relative_to(folder).as_posix()}" for path in paths]
    (folder / SUMS).write_text("\n".join([f"# {repository} {commit}", *lines, ""]))


def commit_of(folder: Path) -> str | None:
    """The commit that was pulled into the folder, if one was."""
    sums = folder / SUMS
    return sums.read_text().splitlines()[0].split()[-1] if sums.exists() else None


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
    """SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
