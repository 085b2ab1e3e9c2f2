"""The judge of validity is open_clip's zero-shot classification, unless the folder holds another."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from services.diffusion.checkers.open_clip import NEAREST, Checker, OpenClipChecker, load_checker, squared, validity_of
from services.diffusion.checkers.reading import Reading
from services.errors import CheckpointError

COLOURS = ["red", "green", "blue"]

WHITE = Image.new("RGB", (32, 32), "white")


def test_a_wide_picture_is_judged_whole_and_a_square_as_it_is(checker):
    wide = Image.new("RGB", (96, 32), "white")
    ends = wide.copy()
    ends.paste("red", (0, 0, 32, 32))
    assert not checker.embed([wide]).equal(checker.embed([ends]))
    below = Image.new("RGB", (96, 96), "white")
    below.paste(ends, (0, 32))
    assert checker.embed([ends]).equal(checker.embed([below]))
    assert squared(WHITE) is WHITE


@pytest.fixture
def well_read(checker):
    """The same random towers with families, attributes and no mercy for other words."""
    nouns = ["chair", "armchair", "office chair", "cup", "coffee cup", "street light", "handbag", "bowl with spoon"]
    return replace(checker, nouns=nouns, families={"chair": ["armchair"]}, attributes={"colour": COLOURS}, floor=2.0)


@pytest.mark.parametrize("concept", ["floccinaucinihilipilification", "椅子", "\u200b", "a" * 200, "كرسي"])
def test_a_concept_of_no_known_noun_has_no_validity(well_read, concept):
    reading = well_read.reading(concept)
    assert reading.noun is None
    assert reading.warnings() == [f"the judge does not know ‘{concept}’: validity is not given"]
    assert validity_of(well_read, [WHITE, WHITE], concept, reading) == [None, None]
    with pytest.raises(ValueError, match="knows no noun"):
        well_read.p_valid([WHITE], concept)


@pytest.mark.parametrize(
    ("concept", "noun", "attributes", "unknown"),
    [
        ("Chair", "chair", (), ()),
        ("a red chair", "chair", ("red",), ()),
        ("red wobbly chair", "chair", ("red",), ("wobbly",)),
        ("coffee cup", "coffee cup", (), ()),
        ("cup of tea", "cup", (), ("tea",)),
        ("tall street light in the fog", "street light", (), ("tall", "fog")),
        ("red and blue chairs", "chair", ("red", "blue"), ()),
        ("chair made of wood", "chair", (), ("wood",)),
        ("chair, red", "chair", (), ("red",)),
        ("bowl with spoon", "bowl with spoon", (), ()),
    ],
)
def test_a_phrase_is_judged_by_its_noun_and_the_attributes_before_it(well_read, concept, noun, attributes, unknown):
    assert well_read.reading(concept) == Reading(noun, attributes, unknown)


def test_what_is_not_judged_is_said(well_read):
    assert well_read.reading("red wobbly chair").warnings() == [
        "the judge does not judge ‘wobbly’: validity is that of ‘red chair’"
    ]
    assert well_read.reading("red chair").warnings() == []


def test_an_attribute_is_one_more_condition(well_read):
    chair, *coloured = (well_read.p_valid([WHITE], c)[0] for c in ("chair", *(f"{c} chair" for c in COLOURS)))
    torch.testing.assert_close(sum(coloured), chair)
    assert len({value.item() for value in coloured}) == len(COLOURS)


def test_of_two_attributes_of_one_kind_either_may_be_seen(well_read):
    certain = replace(well_read, temperature=1e3)
    chair, both = (certain.p_valid([WHITE], c).item() for c in ("chair", "red and blue chair"))
    assert both == pytest.approx(chair / 4, rel=1e-2)  # each against green alone


def test_kinds_of_a_noun_count_for_it_and_do_not_compete(well_read):
    assert well_read.kinds_of("chair") == ["armchair", "office chair"]
    assert well_read.rivals("chair") == ["cup", "coffee cup", "street light", "handbag", "bowl with spoon"]
    assert "chair" not in well_read.rivals("armchair")
    assert "chair" not in well_read.rivals("office chair")
    alone = replace(well_read, nouns=["chair", "cup"], families={})
    among = replace(alone, nouns=["chair", "office chair", "cup"])
    assert among.p_valid([WHITE], "chair") > alone.p_valid([WHITE], "chair")


def test_a_word_is_known_that_lies_as_near_to_a_noun_as_nouns_do(well_read):
    near = (well_read.embed_names(["settle"]) @ well_read.embed_names(well_read.nouns).T).max().item()
    assert replace(well_read, floor=near - 1e-4).reading("settle").noun == "settle"
    assert replace(well_read, floor=near + 1e-4).reading("settle").noun is None


def test_without_a_measured_floor_the_nouns_alone_are_known(well_read):
    unmeasured = replace(well_read, floor=None)
    assert unmeasured.reading("settle").noun is None
    assert unmeasured.reading("red chair") == Reading("chair", ("red",))


def test_the_temperature_of_the_folder_takes_the_place_of_the_models(well_read):
    certain, unsure = (replace(well_read, temperature=t).p_valid([WHITE], "cup").item() for t in (1e-3, 1e3))
    names = 2 + len(well_read.rivals("cup")) + 1
    assert unsure == pytest.approx(2 / names, rel=1e-2)
    assert abs(certain - 0.5) > 0.49


def test_of_many_nouns_only_the_nearest_to_the_concept_compete(checker):
    nouns = [f"thing {number}" for number in range(10 * NEAREST)]
    rivals = replace(checker, nouns=nouns).rivals("lamp")
    features = checker.model.encode_text(checker.tokenizer([f"a photo of a {n}" for n in ("lamp", *nouns)]), True)
    nearness = dict(zip(nouns, (features[1:] @ features[0]).tolist(), strict=True))
    assert len(rivals) == NEAREST
    assert min(nearness[noun] for noun in rivals) >= sorted(nearness.values())[-NEAREST] - 1e-6


def test_the_folders_configuration_says_which_checker_it_is(copied, checker):
    loaded = load_checker(str(copied / "scorer"), device="cpu", dtype=torch.bfloat16)
    assert isinstance(loaded, OpenClipChecker)
    assert isinstance(loaded, Checker)
    assert loaded.fingerprint == checker.fingerprint
    assert loaded.model.logit_scale.dtype == torch.float32


def test_the_logits_are_open_clips(run, checker):
    image = run(steps=1).outputs[0].image
    texts = checker.tokenizer([f"a photo of a {n}" for n in ("chair", "handbag", checker.nothing)])
    features = checker.model(checker.preprocess(image)[None], texts)
    expected = (features[2] * features[0] @ features[1].T).softmax(-1)[0, 0]
    torch.testing.assert_close(checker.p_valid([image], "chair")[0].float(), expected)


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_config.json", "nouns.json"])
def test_a_broken_scorer_is_one_sentence(copied, name):
    (copied / "scorer" / name).write_bytes(b"{")
    with pytest.raises(CheckpointError, match="cannot load the scorer in "):
        OpenClipChecker.load(str(copied / "scorer"), device="cpu")
    (copied / "scorer" / name).unlink()
    with pytest.raises(CheckpointError, match="cannot load the scorer in "):
        OpenClipChecker.load(str(copied / "scorer"), device="cpu")
