"""Checkpoints on disk or on the Hugging Face hub: find the folder, load a part."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from httpx2 import HTTPError
from huggingface_hub import snapshot_download
from safetensors import SafetensorError

from services.errors import CheckpointError

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
VARIANTS = ["*.fp16.*"]
BROKEN = (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, HTTPError)
HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@(\w(?:[\w/-]|\.(?!\.))*))?")


@contextmanager
def described(what: str) -> Iterator[None]:
    """Turn whatever a broken checkpoint makes the libraries raise into one sentence."""
    try:
        yield
    except BROKEN as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise CheckpointError(f"cannot load {what}: {reason}") from error


def checkpoint_folder(name: str) -> Path:
    """The folder `name`, or where the hub's repository of that name is kept; CheckpointError if there is neither.

    The hub's names may end in a revision, a commit, tag or branch: `owner/name@revision`.
    """
    if Path(name).is_dir():
        return Path(name)
    repository, revision = hub_name(name)
    with described(f"the checkpoint {name}"):
        folder = snapshot_download(repository, revision=revision, allow_patterns=FILES, ignore_patterns=VARIANTS)
        return Path(folder)


def hub_name(name: str) -> tuple[str, str | None]:
    """`owner/name` and the revision, if there is one; CheckpointError for what is no name of the hub's."""
    if (match := HUB_NAME.fullmatch(name)) is None:
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


def load_model(kind: Any, folder: Path, part: str, device: str, dtype: torch.dtype) -> Any:
    """A frozen model of diffusers or transformers from folder/part, with every weight present in the file."""
    with described(str(folder / part)):
        model, info = kind.from_pretrained(
            folder, subfolder=part, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        if info["missing_keys"]:
            raise ValueError(f"weights are missing: {', '.join(sorted(info['missing_keys'])[:3])}")
        return model.to(device).eval().requires_grad_(False)


def load_config(kind: Any, folder: Path, part: str, **own: str) -> Any:
    """A tokenizer or a scheduler from folder/part, with `own` values before those of its files."""
    with described(str(folder / part)):
        if not (folder / part).is_dir():
            raise ValueError("there is no such folder")
        return kind.from_pretrained(folder / part, trust_remote_code=False, **own)


def load_defaults(folder: Path, defaults: dict[str, int | float]) -> dict[str, Any]:
    """The checkpoint's own defaults.json over `defaults`, those of the full-size model."""
    path = folder / "defaults.json"
    with described(str(path)):
        return defaults | (json.loads(path.read_text()) if path.exists() else {})


def check_spaces(prior: Path, decoder: Path) -> None:
    """CheckpointError if two parts say that they are of different spaces, which equal dimensions would not show.

    `space` is a name in the folders' defaults.json and the image encoder's config.json; a part may be silent.
    """
    files = (prior / "defaults.json", prior / "image_encoder" / "config.json", decoder / "defaults.json")
    said = [(path.parent, _space_of(path)) for path in files if path.exists()]
    check_equal("space", [(folder, space) for folder, space in said if space is not None])


def _space_of(path: Path) -> str | None:
    with described(str(path)):
        space: str | None = json.loads(path.read_text()).get("space")
        return space


def check_equal(what: str, parts: list[tuple[Path, str | int]]) -> None:
    """CheckpointError for the first part that differs from the one before it."""
    for (folder, own), (other, found) in pairwise(parts):
        if own != found:
            raise CheckpointError(f"the parts do not fit: {folder} has the {what} {own}, {other} has {found}")
