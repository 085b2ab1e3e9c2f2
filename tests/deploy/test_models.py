"""`rarebit models`: what is pulled is whole, verified and half as large, and is found without a network."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from deploy.local.pulled import commit_of, damaged_files, pulled_folders, size_of
from deploy.local.pulling import pull
from hub import serving
from servers import SIGNING_KEY
from services.diffusion.checkpoint import checkpoint_folder
from services.diffusion.fingerprint import fingerprint_of
from services.diffusion.generate import sample_plain
from services.diffusion.kandinsky import Kandinsky
from services.diffusion.recipe import Recipe
from services.diffusion.subject import Subject
from services.errors import CheckpointError
from services.settings import Settings
from services.storage import LocalStorage
from tests.kandinsky_as_published import DECODER, PRIOR

UNET = "unet/diffusion_pytorch_model.safetensors"
CHUNK = 2**16


def nothing(*_):
    """A report that goes nowhere."""


@contextmanager
def hub_of(root, cache):
    """A hub of the folder's repositories, in place of the real one."""
    with serving(root, "owner") as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
        yield hub


@pytest.fixture
def hub(published, tmp_path):
    """A hub whose files the test may change."""
    with hub_of(Path(shutil.copytree(published, tmp_path / "hub")), tmp_path / "cache") as hub:
        yield hub


@pytest.fixture
def models(tmp_path):
    return tmp_path / "data/models"


@pytest.fixture(scope="module")
def both(published, tmp_path_factory):
    """Both repositories, pulled once for the tests that only look."""
    models = tmp_path_factory.mktemp("data") / "models"
    with hub_of(published, models.parent):
        for name in (PRIOR, DECODER):
            pull(f"owner/{name}@v1", models)
    return models


def test_what_is_pulled_makes_the_pictures_of_what_is_published_within_bfloat16(both, published):
    def load(prior, decoder):
        return Kandinsky.load(str(prior), str(decoder), device="cpu", dtype=torch.bfloat16)

    ours = load(both / f"owner/{PRIOR}@v1", both / f"owner/{DECODER}@v1")
    theirs = load(published / PRIOR, published / DECODER)
    for part in ("prior", "text_encoder", "image_encoder"):
        same = zip(getattr(ours, part).parameters(), getattr(theirs, part).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in same)
    for name, value in vars(theirs.decoder.constants).items():
        assert torch.equal(getattr(ours.decoder.constants, name), value)


def test_a_worker_draws_from_what_was_pulled_by_name_and_without_a_hub(both):
    from worker.models import load_models

    parts = {"prior": f"owner/{PRIOR}@v1", "decoder": f"owner/{DECODER}@v1"}
    storage = LocalStorage(both.parent / "objects", signing_key=SIGNING_KEY, public_url="http://gateway")
    settings = Settings(data_dir=both.parent, signing_key=SIGNING_KEY, dtype="bfloat16", density_samples=200, **parts)
    models = load_models(settings, storage)
    subject = Subject("handbag!", "a photo of a {}")
    density = models.densities.get(subject, nothing, lambda _key, report: nullcontext(report)).density
    recipe = Recipe(target_bits=3.0, steps=1, trials=1, seed=0, size=64, decoder_steps=2)
    (output,) = sample_plain(models.model, density, models.checker, recipe, nothing, [7])
    assert output.image.size == (64, 64)


def test_weights_are_halved_and_what_is_not_read_is_dropped(both, published):
    prior, decoder = both / f"owner/{PRIOR}@v1", both / f"owner/{DECODER}@v1"
    assert {weight.dtype for weight in load_file(decoder / UNET).values()} == {torch.bfloat16}
    assert (decoder / UNET).stat().st_size < 0.55 * (published / DECODER / UNET).stat().st_size
    assert {path.name for path in decoder.iterdir()} == {
        "SHA256SUMS",
        "constants.safetensors",
        "model_index.json",
        "movq",
        "scheduler",
        "unet",
    }
    assert not [path for folder in (prior, decoder) for path in folder.rglob("*.bin")]
    assert not list(both.glob(".drafts/owner/*"))


def test_files_that_were_pulled_are_what_sha256sum_finds(both):
    for folder in pulled_folders(both):
        assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True).returncode == 0


def test_a_broken_download_goes_on_where_it_broke(hub, models):
    half = (hub.root / DECODER / UNET).stat().st_size // CHUNK // 2 * CHUNK
    hub.breaks[UNET] = half
    with pytest.raises(CheckpointError, match=rf"^cannot load owner/{DECODER} from the hub: .*503"):
        pull(f"owner/{DECODER}", models)
    assert not pulled_folders(models)
    del hub.breaks[UNET]
    hub.asked.clear()
    pull(f"owner/{DECODER}", models)
    assert [begin for path, begin in hub.asked if path == f"/away/{DECODER}/{UNET}"] == [f"bytes={half}-"]
    assert not [path for path, _ in hub.asked if path.endswith("model_index.json")]
    assert [damage for folder in pulled_folders(models) for damage in damaged_files(folder)] == []


@pytest.mark.parametrize("path", [UNET, "unet/config.json"])
def test_a_file_that_arrives_damaged_is_refused_and_fetched_again(hub, models, path, monkeypatch):
    good = (hub.root / DECODER / path).read_bytes()
    facts = hub.files(DECODER)
    with monkeypatch.context() as patch:
        patch.setattr(hub, "files", lambda _: facts)
        (hub.root / DECODER / path).write_bytes(good[:-1] + b"?")
        with pytest.raises(CheckpointError, match=rf"{path} has not arrived as the hub has it"):
            pull(f"owner/{DECODER}", models)
        (hub.root / DECODER / path).write_bytes(good)
        pull(f"owner/{DECODER}", models)
    assert len(pulled_folders(models)) == 1


def test_a_commit_is_pulled_once_and_the_hub_is_not_asked_again(hub, models):
    name = f"owner/{PRIOR}@{hub.commit(PRIOR)}"
    folder = pull(name, models)
    hub.asked.clear()
    assert pull(name, models) == folder
    assert hub.asked == []


def test_a_branch_that_has_moved_is_pulled_again(hub, models):
    name = f"owner/{PRIOR}@main"
    before = fingerprint_of(pull(name, models))
    path = hub.root / PRIOR / "scheduler/scheduler_config.json"
    path.write_text(path.read_text().replace("10.0", "9.0"))
    folder = pull(name, models)
    assert commit_of(folder) == hub.commit(PRIOR)
    assert fingerprint_of(folder) != before


def test_a_name_with_a_revision_needs_no_pull_where_there_is_a_hub(hub):
    folder = checkpoint_folder(f"owner/{PRIOR}@{hub.commit(PRIOR)}")
    assert (folder / "tokenizer/merges.txt").exists()
    assert not list(folder.rglob("*.bin"))
    with pytest.raises(CheckpointError, match=r"owner/kandinsky-2-1-prior@v9"):
        checkpoint_folder(f"owner/{PRIOR}@v9")


@pytest.mark.parametrize("name", ["owner/none", "no-name", f"owner/{PRIOR}@../../x", f"owner/{PRIOR}@v9"])
def test_what_the_hub_does_not_have_is_one_sentence(hub, models, name):
    with pytest.raises(CheckpointError, match=r"^cannot load .*") as caught:
        pull(name, models)
    assert "\n" not in str(caught.value)


def test_a_repository_without_safetensors_is_refused(hub, models):
    for path in (hub.root / PRIOR).rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(CheckpointError, match="has no weights in safetensors"):
        pull(f"owner/{PRIOR}", models)


def rarebit(*words, **env):
    command = [str(Path(sys.executable).with_name("rarebit")), *words]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=300, check=False)


def test_the_commands_pull_list_and_verify(hub, models):
    data = {"RAREBIT_DATA_DIR": str(models.parent), "HF_ENDPOINT": hub.url}
    data["TQDM_POSITION"] = "-1"  # to the client: show progress though this is no terminal
    pulled = rarebit("models", "pull", f"owner/{DECODER}@v1", **data)
    folder = models / f"owner/{DECODER}@v1"
    assert (pulled.returncode, pulled.stdout) == (0, f"{folder}\n"), pulled.stderr
    assert f"{UNET}: 100%" in pulled.stderr
    listed = rarebit("models", "list", **data)
    assert listed.stdout == f"owner/{DECODER}@v1\t{hub.commit(DECODER)}\t{size_of(folder) / 1e9:.2f} GB\n"
    assert rarebit("models", "verify", **data).returncode == 0
    (folder / UNET).write_bytes(b"other weights")
    (folder / "model_index.json").unlink()
    verified = rarebit("models", "verify", **data)
    assert verified.returncode == 1
    assert verified.stderr == (
        "rarebit: not as they were pulled (erase their folders and pull again): "
        f"{folder}/model_index.json, {folder}/{UNET}\n"
    )
