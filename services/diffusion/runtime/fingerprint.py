"""What tells one checkpoint from another, and where what is costly to find out about one is kept."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from services.diffusion.runtime.checkpoint import FILES, described
from services.errors import CheckpointError

Found = TypeVar("Found")


@runtime_checkable
class Keep(Protocol):
    """A place for what is costly to make and the same every time."""

    def __call__(self, name: str, make: Callable[[], bytes], read: Callable[[bytes], Found], /) -> Found:
        """`read` of what `make` once gave under this name, or of what it gives now.

        What `read` refuses, with CheckpointError, is made again.
        """


def anew(_name: str, make: Callable[[], bytes], read: Callable[[bytes], Found]) -> Found:
    """Keep nothing."""
    return read(make())


def fingerprint_of(*folders: Path, keep: Keep = anew) -> str:
    """SHA-256 over the names and bytes of all weights and configurations, as 64 hexadecimal digits.

    It is kept under the files' paths, which have the revision, their sizes and the times of their last change.
    CheckpointError for a file that cannot be read.
    """
    with described(f"the files in {' and '.join(map(str, folders))}"):
        files = [(folder, path) for folder in folders for path in sorted(p for f in FILES for p in folder.rglob(f))]
        marks = json.dumps([_mark(*file) for file in files])
        name = hashlib.sha256(marks.encode()).hexdigest()
        return keep(f"fingerprints/{name}", lambda: _digest(files), _read)


def _mark(folder: Path, path: Path) -> tuple[str, str, int, int, int]:
    """Whoever sets the time of a file's content cannot set that of its change (st_ctime)."""
    stat, place = path.stat(), path.relative_to(folder)
    return str(folder.absolute()), str(place), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _digest(files: list[tuple[Path, Path]]) -> bytes:
    digest = hashlib.sha256()
    for folder, path in files:
        with path.open("rb") as file:
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest().encode()


def _read(kept: bytes) -> str:
    if not re.fullmatch(rb"[0-9a-f]{64}", kept):
        raise CheckpointError(f"{kept[:80]!r} is no fingerprint")
    return kept.decode()
