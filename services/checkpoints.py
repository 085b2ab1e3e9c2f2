"""Checkpoints as the settings name them, without a tensor: where they may be, and whether their parts fit."""

import json
import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from services.errors import CheckpointError

_HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@(\w(?:[\w/-]|\.(?!\.))*))?")


def hub_name(name: str) -> tuple[str, str | None]:
    """`owner/name` and the revision, if there is one; CheckpointError for what is no name of the hub's."""
    if (match := _HUB_NAME.fullmatch(name)) is None:
        raise CheckpointError(f"cannot load the checkpoint {name}: there is no such folder")
    return match[1], match[2]


def pulled(name: str, data: Path) -> str:
    """Where `rarebit models pull` has put the repository of that name below the data folder, or else the name."""
    folder = data / "models" / name
    return str(folder) if folder.is_dir() else name


def embedded(part: str) -> str:
    """The folder of a part of the embedded checkpoint, a package of its own; CheckpointError if it is not installed."""
    if (package := find_spec("rarebit_mini")) is None or package.origin is None:
        raise CheckpointError(
            f"there is no embedded {part}: pip install 'rarebit[embedded]', or name one in RAREBIT_{part.upper()}"
        )
    return str(Path(package.origin).with_name(part))


def found_at(data: Path, part: str, name: str | None) -> str:
    """The part as it is named, or as it has been pulled, or the embedded one. Raises CheckpointError."""
    return embedded(part) if name is None else pulled(name, data)


def check_spaces(prior: Path, decoder: Path) -> None:
    """CheckpointError if two parts say that they are of different spaces, which equal dimensions would not show.

    `space` is a name in the folders' defaults.json and the image encoder's config.json; a part may be silent.
    """
    files = (prior / "defaults.json", prior / "image_encoder" / "config.json", decoder / "defaults.json")
    said = [(path.parent, _space_of(path)) for path in files if path.exists()]
    check_equal("space", [(folder, space) for folder, space in said if space is not None])


def _space_of(path: Path) -> str | None:
    try:
        space: str | None = json.loads(path.read_text()).get("space")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"cannot load {path}: {error}") from error
    return space


def check_equal(what: str, parts: list[tuple[Path, str | int]]) -> None:
    """CheckpointError for the first part that differs from the one before it."""
    for (folder, own), (other, found) in pairwise(parts):
        if own != found:
            raise CheckpointError(f"the parts do not fit: {folder} has the {what} {own}, {other} has {found}")
