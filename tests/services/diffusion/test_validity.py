"""The judge of validity is open_clip's zero-shot classification, unless the folder holds another."""

from dataclasses import replace

import pytest
import torch

from services.diffusion.validity import NEAREST, Checker, OpenClipChecker, load_checker
from services.errors import CheckpointError


def test_a_probability_for_any_concept_at_all(run, checker):
    images = [run(seed=seed, steps=1).outputs[0].image for seed in (0, 1)]
    for concept in ("handbag", "floccinaucinihilipilification", "椅子"):
        p_valid = checker.p_valid(images, concept)
        assert p_valid.shape == (2,)
        assert ((p_valid >= 0) & (p_valid <= 1)).all()


def test_a_concept_does_not_compete_with_its_own_words(checker):
    assert checker.rivals("red Handbag") == ["chair"]
    assert checker.rivals("lamp") == ["handbag", "chair"]


def test_of_many_nouns_only_the_nearest_to_the_concept_compete(checker):
    nouns = [f"thing {number}" for number in range(10 * NEAREST)]
    rivals = replace(checker, nouns=nouns).rivals("lamp")
    features = checker.model.encode_text(checker.tokenizer([f"a photo of a {n}" for n in ("lamp", *nouns)]), True)
    nearness = dict(zip(nouns, (features[1:] @ features[0]).tolist(), strict=True))
    assert len(rivals) == NEAREST
    assert min(nearness[noun] for noun in rivals) >= sorted(nearness.values())[-NEAREST] - 1e-6


def test_a_concept_that_is_every_noun_competes_with_nothing_alone(run, checker):
    assert checker.rivals("handbag chair") == []
    assert checker.p_valid([run(steps=1).outputs[0].image], "handbag chair").shape == (1,)


def test_the_folders_configuration_says_which_checker_it_is(copied, checker):
    loaded = load_checker(str(copied / "scorer"), device="cpu", dtype=torch.bfloat16)
    assert isinstance(loaded, OpenClipChecker)
    assert isinstance(loaded, Checker)
    assert loaded.fingerprint == checker.fingerprint
    assert loaded.model.logit_scale.dtype == torch.float32


def test_the_logits_are_open_clips(run, checker):
    image = run(steps=1).outputs[0].image
    texts = checker.tokenizer([f"a photo of a {n}" for n in ("lamp", "handbag", "chair", checker.nothing)])
    features = checker.model(checker.preprocess(image)[None], texts)
    expected = (features[2] * features[0] @ features[1].T).softmax(-1)[0, 0]
    torch.testing.assert_close(checker.p_valid([image], "lamp")[0].float(), expected)


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_config.json", "nouns.json"])
def test_a_broken_scorer_is_one_sentence(copied, name):
    (copied / "scorer" / name).write_bytes(b"{")
    with pytest.raises(CheckpointError, match="cannot load the scorer in "):
        OpenClipChecker.load(str(copied / "scorer"), device="cpu")
    (copied / "scorer" / name).unlink()
    with pytest.raises(CheckpointError, match="cannot load the scorer in "):
        OpenClipChecker.load(str(copied / "scorer"), device="cpu")
