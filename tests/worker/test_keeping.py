"""A checkpoint's files are read in full once ever, and again when they may have changed."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import BUCKET, S3_KEYS

from servers import free_port
from services.checkpoints import pulled
from services.diffusion.kandinsky import multilingual_clip
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.runtime import fingerprint
from services.diffusion.runtime.fingerprint import fingerprint_of
from services.objects.storage import S3Storage
from services.sampler.keeping import Keeping
from tests.kandinsky_as_published import DECODER, PRIOR
from tests.worker.conftest import local_storage


def load(folder, keep):
    return Kandinsky.load(str(folder / PRIOR), str(folder / DECODER), device="cpu", dtype=torch.bfloat16, keep=keep)


@pytest.fixture
def keep(storage):
    return Keeping(storage)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.safetensors").write_bytes(b"the weights")
    return tmp_path / "model"


@pytest.fixture
def readings(monkeypatch):
    """Every list of files that was read in full."""
    seen, digest = [], fingerprint._digest
    monkeypatch.setattr(fingerprint, "_digest", lambda files: seen.append(files) or digest(files))
    return seen


def test_files_that_have_not_changed_are_read_once(folder, keep, readings):
    first = fingerprint_of(folder, keep=keep)
    assert fingerprint_of(folder, keep=keep) == first == fingerprint_of(folder)
    assert len(readings) == 2  # the second of these is the one that keeps nothing


def test_other_weights_of_the_same_size_and_time_are_another_model(folder, keep):
    path = folder / "model.safetensors"
    before, first = path.stat(), fingerprint_of(folder, keep=keep)
    path.write_bytes(b"the Weights")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert fingerprint_of(folder, keep=keep) != first


def test_another_revision_is_read_and_the_same_files_are_the_same_model(folder, keep, readings):
    first = fingerprint_of(folder, keep=keep)
    copy = shutil.copytree(folder, folder.with_name("model@revision"))
    assert fingerprint_of(copy, keep=keep) == first
    assert len(readings) == 2


def test_a_kept_fingerprint_that_is_damaged_is_made_again(folder, tmp_path, keep, readings):
    first = fingerprint_of(folder, keep=keep)
    (kept,) = (path for path in (tmp_path / "objects").rglob("*") if path.is_file())
    kept.write_bytes(b"half")
    assert fingerprint_of(folder, keep=keep) == first
    assert kept.read_bytes() == first.encode()
    assert len(readings) == 2


def test_a_store_that_cannot_be_written_costs_time_alone(folder, tmp_path):
    (tmp_path / "file").touch()
    assert fingerprint_of(folder, keep=Keeping(local_storage(tmp_path / "file"))) == fingerprint_of(folder)


def test_a_store_that_is_away_costs_time_alone(folder):
    access_key, secret_key = S3_KEYS
    endpoint = f"http://127.0.0.1:{free_port()}"
    away = S3Storage(endpoint, access_key=access_key, secret_key=secret_key, bucket=BUCKET, region="", patience_s=0.1)
    assert fingerprint_of(folder, keep=Keeping(away)) == fingerprint_of(folder)


def test_the_encoder_of_the_empty_prompt_is_loaded_once_ever(published, keep, monkeypatch):
    first = load(published, keep)
    monkeypatch.setattr(multilingual_clip, "encode_empty_prompt", pytest.fail)
    again = load(published, keep)
    for name, value in vars(first.decoder.constants).items():
        assert torch.equal(getattr(again.decoder.constants, name), value)


def test_a_kept_prompt_that_is_damaged_is_encoded_again(published, tmp_path, keep):
    first = load(published, keep)
    (kept,) = (tmp_path / "objects/checkpoints/empty-prompts").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    again = load(published, keep)
    assert torch.equal(again.decoder.constants.prompt_embeds, first.decoder.constants.prompt_embeds)


def test_a_pulled_repository_is_found_by_its_name(tmp_path):
    (tmp_path / "models/owner/name@v1").mkdir(parents=True)
    assert pulled("owner/name@v1", tmp_path) == str(tmp_path / "models/owner/name@v1")
    for elsewhere in ("owner/name", str(Path(__file__).parent)):
        assert pulled(elsewhere, tmp_path) == elsewhere
