"""Checkpoints on disk or on the Hugging Face hub: find the folder, load a part."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from httpx2 import HTTPError
from huggingface_hub import snapshot_download
from safetensors import SafetensorError

from services.checkpoints import hub_name
from services.errors import CheckpointError

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
VARIANTS = ["*.fp16.*"]
BROKEN = (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, HTTPError)


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
