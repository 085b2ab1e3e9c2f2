"""The hub's repositories as the service needs them: fetched, verified, in bfloat16, and never asked for again."""

import hashlib
import json
import shutil
from pathlib import Path

import torch
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers, filter_repo_objects  # type: ignore[attr-defined]
from safetensors import safe_open
from safetensors.torch import save_file

from deploy.local.models.pulled import commit_of, digest_of, write_sums
from services.diffusion.kandinsky.multilingual_clip import encode_empty_prompt
from services.diffusion.runtime.checkpoint import FILES, VARIANTS, described, hub_name

DRAFTS = ".drafts"
ENCODER = ("text_encoder", "tokenizer")  # of a decoder, which reads nothing but the empty prompt


def pull(name: str, models: Path) -> Path:
    """The hub's repository `owner/name` or `owner/name@revision`, in the folder of that name in `models`.

    What a broken run has fetched is not fetched again. One that is there goes when the revision has moved, and the hub
    is not asked where it is a commit. CheckpointError in one sentence.
    """
    repository, revision = hub_name(name)
    folder = models / name
    there = commit_of(folder)
    if there is not None and there == revision:
        return folder
    with described(f"{name} from the hub"):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        if info.sha != there:
            draft = models / DRAFTS / repository / str(info.sha)
            complete(info, draft)
            move(draft, folder)
    return folder


def complete(info: ModelInfo, draft: Path) -> None:
    """Have all of the revision in the draft, as the service reads it."""
    fetch(info, draft)
    if (draft / "model_index.json").exists():
        reduce_pipeline(draft)
    write_sums(draft, info.id, str(info.sha))


def move(draft: Path, folder: Path) -> None:
    """Put the draft in the folder's place, and erase those of other commits."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(folder)
    shutil.rmtree(draft.parent)


def fetch(info: ModelInfo, draft: Path) -> None:
    """Every file that the service reads and the draft does not have.

    ValueError where no weights are in safetensors, and for a file that would not lie in the draft.
    """
    dropped = [f"{part}/*" for part in ENCODER] if (draft / "constants.safetensors").exists() else []
    patterns = {"allow_patterns": FILES, "ignore_patterns": [*VARIANTS, *dropped]}
    files = list(filter_repo_objects(info.siblings or [], key=lambda file: file.rfilename, **patterns))
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise ValueError(f"revision {info.sha} has no weights in safetensors")
    for file in files:
        path = (draft / file.rfilename).resolve()
        if not path.is_relative_to(draft.resolve()):
            raise ValueError(f"{file.rfilename} leads out of the repository")
        if not path.exists():
            fetch_file(info, file, path)


def fetch_file(info: ModelInfo, file: RepoSibling, path: Path) -> None:
    """The file, from where a broken run has left off; ValueError when it is not what the hub says it is."""
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as out:
        http_get(
            hf_hub_url(info.id, file.rfilename, revision=info.sha),
            out,
            resume_size=out.tell(),
            headers=build_hf_headers(headers={"Accept-Encoding": "identity"}),
            expected_size=file.size,
            displayed_filename=file.rfilename,
        )
    if not matches(part, file):
        part.unlink()
        raise ValueError(f"{file.rfilename} has not arrived as the hub has it; pull again")
    part.rename(path)


def matches(path: Path, file: RepoSibling) -> bool:
    """Whether the content is what the hub says: SHA-256 of a large file, git's SHA-1 of a small one."""
    if file.lfs is not None:
        return digest_of(path) == file.lfs.sha256
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest() == file.blob_id


def reduce_pipeline(draft: Path) -> None:
    """The parts of a prior or a decoder in bfloat16; in place of a decoder's text encoder, what it has to say."""
    index = json.loads((draft / "model_index.json").read_text())
    if index.get("text_encoder", ["", ""])[1] == "MultilingualCLIP":
        drop_text_encoder(draft)
    for path in draft.glob("*/*.safetensors"):
        to_bfloat16(path)


def drop_text_encoder(draft: Path) -> None:
    """Put the encoded empty prompt in the place of XLM-R and its tokenizer."""
    constants = draft / "constants.safetensors"
    if not constants.exists():
        save_whole(encode_empty_prompt(draft), constants)
    for part in ENCODER:
        shutil.rmtree(draft / part, ignore_errors=True)


def to_bfloat16(path: Path) -> None:
    """Round float32 weights, one at a time, so that no more than half of the file is in memory."""
    with safe_open(path, "pt") as file:
        weights = {name: halved(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  it is no dictionary
    save_whole(weights, path)


def halved(weight: torch.Tensor) -> torch.Tensor:
    return weight.bfloat16() if weight.dtype == torch.float32 else weight


def save_whole(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    save_file(weights, part, {"format": "pt"})
    part.replace(path)
