"""`rarebit generate` and `rarebit replay`, in this process."""

import json
import os
from dataclasses import replace

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from dark_classifier import save_dark_classifier
from deploy.local.pictures import picture_paths, validity_in_words
from services.errors import CheckpointError, OtherConceptError, PictureError, ReplayError, UnsafeContentError
from services.pictures.files import carrying
from tests.accepted import accepted

QUICK = accepted(concept="handbag", count=2, steps=2, trials=4, decoder_steps=2, seed=7)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    os.environ["RAREBIT_DENSITY_SAMPLES"] = "500"
    yield tmp_path_factory.mktemp("data")
    del os.environ["RAREBIT_DENSITY_SAMPLES"]


@pytest.fixture
def make(data, tmp_path):
    from deploy.local.making import make

    def run(name, request=QUICK, avoid=(), toward=(), image=None, strength=0.5, found=None, exposure=None):
        wishes = ([(word, 1.0) for word in words] for words in (avoid, toward))
        start = image and (image, strength)
        return make(request, *wishes, image=start, found=found, exposure=exposure, data=data, out=tmp_path / name)

    return run


@pytest.mark.parametrize("concept", ["手提包" * 34, "é" * 300, "x" * 300, "🎒" * 90, "a/../b"])
def test_any_concept_gives_a_file_name(tmp_path, concept):
    for path in picture_paths(tmp_path, concept, 16, "safetensors"):
        path.touch()
    assert len(list(tmp_path.iterdir())) == 16


def test_every_picture_comes_again_from_the_json_beside_it(make, data, tmp_path):
    from deploy.local.making import make_again

    *_warnings, first, _second = make("first", avoid=["red"])
    assert first.startswith(f"{tmp_path}/first/handbag-1.png: ")
    again = make_again(tmp_path / "first/handbag-2.json", found=None, data=data, out=tmp_path / "again.png")
    assert again.read_bytes() == (tmp_path / "first/handbag-2.png").read_bytes()


def test_a_picture_on_disk_can_be_avoided_or_varied_with_or_without_what_was_learnt(make, tmp_path):
    make("first")
    picture = tmp_path / "first/handbag-1.png"
    first = picture.read_bytes()
    make("learnt", avoid=[str(picture)], image=picture)
    picture.with_suffix(".safetensors").unlink()
    make("embedded", toward=[str(picture)], image=picture)
    results = {(tmp_path / name / "handbag-1.png").read_bytes() for name in ("learnt", "embedded")}
    assert len(results | {first}) == 3


def test_a_found_thing_is_drawn_in_another_sentence_from_its_file_alone_and_replays_with_it(make, data, tmp_path):
    from deploy.local.making import make_again

    make("first")
    picture = tmp_path / "first/handbag-1.png"
    file = tmp_path / "file.png"
    file.write_bytes(carrying(picture.read_bytes(), picture.with_suffix(".safetensors").read_bytes()))
    asked = QUICK.model_copy(update={"prompt": "a {} on the beach"})
    *_, line, _ = make("beach", asked, found=picture)
    make("file", asked, found=file)
    beach = tmp_path / "beach/handbag-1.png"
    assert ", likeness 0." in line
    assert beach.read_bytes() == (tmp_path / "file/handbag-1.png").read_bytes()
    again = make_again(beach.with_suffix(".json"), found=file, data=data, out=tmp_path / "again.png")
    assert again.read_bytes() == beach.read_bytes()
    with pytest.raises(ReplayError, match=r"is of the found thing .*, whose file is needed"):
        make_again(beach.with_suffix(".json"), found=None, data=data, out=tmp_path / "again.png")
    with pytest.raises(OtherConceptError, match="is of the concept ‘handbag’, not of ‘chair’"):
        make("chair", asked.model_copy(update={"concept": "chair"}), found=picture)
    with pytest.raises(CheckpointError, match="cannot load "):
        make("nothing", asked, found=tmp_path / "again.png")


def test_what_another_model_learnt_of_a_picture_is_found_out_anew_from_the_picture(make, tmp_path):
    make("first")
    picture, results = tmp_path / "first/handbag-1.png", []
    learnt = picture.with_suffix(".safetensors")
    image_embeds = load_file(learnt)["image_embeds"]
    for name, tensor, model in (("other", image_embeds, "f" * 64), ("longer", image_embeds.repeat(2), None)):
        save_file({"image_embeds": tensor}, learnt, model and {"model": model})
        make(name, image=picture)
        results.append((tmp_path / name / "handbag-1.png").read_bytes())
    learnt.unlink()
    make("embedded", image=picture)
    assert results == [(tmp_path / "embedded/handbag-1.png").read_bytes()] * 2


def test_every_warning_comes_before_the_pictures(make, monkeypatch):
    from deploy.local import in_process

    def warned(*arguments, generate=in_process.generate, **options):
        result = generate(*arguments, **options)
        return replace(result, warnings=["the judge does not know “handbag”", "one is missing"])

    monkeypatch.setattr(in_process, "generate", warned)
    *warnings, first, _second = make("first")
    assert warnings == ["warning: the judge does not know “handbag”", "warning: one is missing"]
    assert "handbag-1.png: " in first


def test_a_validity_that_is_not_known_is_said_in_words():
    assert [validity_in_words(validity) for validity in (None, 0.0, 0.974)] == [
        "validity unknown",
        "0% valid",
        "97% valid",
    ]


def test_a_file_of_views_grows_and_gives_novelty(make, tmp_path):
    exposure = tmp_path / "seen.jsonl"
    *_warnings, first, _second = make("one", exposure=exposure)
    make("two", exposure=exposure)
    assert "bits new" in first
    assert len(exposure.read_text().splitlines()) == 4
    assert json.loads((tmp_path / "two/handbag-1.json").read_text())["novelty_bits"] > 0


def test_what_is_no_picture_and_what_is_no_replay_block_is_one_sentence(make, data, tmp_path):
    from deploy.local.making import make_again

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG")
    with pytest.raises(PictureError, match="cannot be read as image/png"):
        make("out", image=broken)
    broken.write_text('{"replay": {"recipe": {}}}')
    with pytest.raises(ReplayError, match=r"broken\.png holds no replay block"):
        make_again(broken, found=None, data=data, out=tmp_path / "out.png")


def test_content_safety_holds_here_too_for_what_is_made_replayed_and_given(make, data, tmp_path, monkeypatch):
    from deploy.local.making import make_again

    make("first")
    monkeypatch.setenv("RAREBIT_SAFETY", str(save_dark_classifier(tmp_path / "all", brightness=1.1)))
    with pytest.raises(UnsafeContentError, match=r"^2 of 2 images were withheld by content safety$"):
        make("refused")
    assert not list(tmp_path.glob("refused/*"))
    with pytest.raises(UnsafeContentError, match=r"^replay: "):
        make_again(tmp_path / "first/handbag-1.json", found=None, data=data, out=tmp_path / "again.png")
    assert not (tmp_path / "again.png").exists()
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "own.png")
    with pytest.raises(UnsafeContentError, match=f"^{tmp_path}/own.png: content safety refuses the picture$"):
        make("out", toward=[str(tmp_path / "own.png")])
