"""The models' files: whether they are here, whole to their last byte, and of one space. Loads none of them."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from safetensors import SafetensorError, safe_open

from deploy.local.doctor.finding import Finding, failure, ok, warning
from services.checkpoints import check_spaces, found_at, hub_name
from services.errors import CheckpointError
from services.settings import Settings

_PARTS = {
    "prior": ("image_encoder", "prior", "scheduler", "text_encoder", "tokenizer"),
    "decoder": ("movq", "scheduler", "unet"),
    "scorer": (),
}
_PULL = "Run `rarebit models pull {name}`, or name a folder in RAREBIT_{variable}."


def look(settings: Settings) -> Iterator[Finding]:
    """A line for each, and one for what they have to have in common; none where no worker can run."""
    folders: dict[str, Path] = {}
    for what in _PARTS if find_spec("torch") else ():
        name = getattr(settings, what)
        do = _PULL.format(name=name, variable=what.upper()) if name else "Install rarebit[embedded] again."
        try:
            if folder := _folder(found_at(settings.data_dir, what, name)):
                folders[what] = folder
                yield _files(what, folder, do)
            else:
                yield warning(what, f"{name} is not here: a worker fetches it", do)
        except CheckpointError as error:
            yield failure(what, str(error), f"Correct RAREBIT_{what.upper()}, or install what it says.")
    if (prior := folders.get("prior")) and (decoder := folders.get("decoder")):
        yield _spaces(prior, decoder)


def _folder(name: str) -> Path | None:
    """Where its files are; None for a name of the hub's that was not fetched. Raises CheckpointError."""
    from huggingface_hub import snapshot_download  # a worker's

    if Path(name).is_dir():
        return Path(name)
    repository, revision = hub_name(name)
    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return None


def _files(what: str, folder: Path, do: str) -> Finding:
    weights = sorted(folder.rglob("*.safetensors"))
    if missing := [part for part in _PARTS[what] if not (folder / part).is_dir()]:
        return failure(what, f"{folder} has no {', '.join(missing)}", do)
    if not weights:
        return failure(what, f"{folder} has no weights (*.safetensors)", do)
    for path in weights:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            return failure(what, f"{path} is damaged: {error}", do)
    return ok(what, f"{folder}: {sum(path.stat().st_size for path in weights) / 1e9:.2f} GB, whole")


def _spaces(prior: Path, decoder: Path) -> Finding:
    try:
        check_spaces(prior, decoder)
    except CheckpointError as error:
        return failure("space", str(error), "Take prior and decoder of one model.")
    return ok("space", "prior and decoder fit")
