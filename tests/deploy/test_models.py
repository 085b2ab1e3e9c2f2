"""`rarebit models`: what is pulled is whole, verified and half as large, and is found without a network."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deploy.local.models.pulled import pulled_folders, size_of
from deploy.local.models.pulling import pull
from hub import hub_of
from servers import SIGNING_KEY
from services.diffusion.density.subject import Subject
from services.diffusion.generate import sample_plain
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.objects.storage import LocalStorage
from services.settings import Settings
from tests.kandinsky_as_published import DECODER, PRIOR

UNET = "unet/diffusion_pytorch_model.safetensors"


def nothing(*_):
    """A report that goes nowhere."""


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
    from services.sampler.models import load_models

    parts = {"prior": f"owner/{PRIOR}@v1", "decoder": f"owner/{DECODER}@v1"}
    storage = LocalStorage(both.parent / "objects", signing_key=SIGNING_KEY, public_url="http://gateway")
    settings = Settings(data_dir=both.parent, signing_key=SIGNING_KEY, dtype="bfloat16", density_samples=200, **parts)
    models = load_models(settings, storage)
    subject = Subject("handbag!", "a photo of a {}")
    density = models.densities.get(subject, nothing, lambda _key, report: nullcontext(report)).density
    config = GenerationConfig(target_bits=3.0, steps=1, trials=1, seed=0, size=64, decoder_steps=2)
    (output,) = sample_plain(Run(models.model, density, models.checker, subject, config), nothing, [7])
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
