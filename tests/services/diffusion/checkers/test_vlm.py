"""The vision-language judge reads its answer off the next token, whatever the model and its tokenizer are."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from services.diffusion.checkers.open_clip import Checker, load_checker
from services.diffusion.checkers.reading import Reading
from services.diffusion.checkers.vlm import answer_tokens, question
from services.diffusion.runtime.checkpoint import described
from services.errors import CheckpointError
from tests.tiny_vlm import byte_level, idefics3, llava_next, metaspace, qwen2_vl, trained

from transformers import PreTrainedTokenizerFast  # isort: skip


@pytest.fixture(scope="module", params=[llava_next, qwen2_vl, idefics3], ids=lambda make: make.__name__)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random checkpoint, as save_pretrained writes it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vlm")
    for part in request.param():
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def checker(folder: Path) -> Checker:
    return load_checker(str(folder), device="cpu", dtype=torch.float32)


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "broken"))


PICTURES = [
    Image.effect_noise((32, 48), 90).convert("RGB"),
    Image.new("RGB", (64, 32), "red"),
    Image.new("RGB", (32, 32)),
]


def by_hand(checker: Checker, text: str, image: Image.Image) -> float:
    """Of all probability that the next token is some writing of yes or no, the part that is yes."""
    prompt = checker.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}], add_generation_prompt=True
    )
    assert prompt.endswith("ASSISTANT:")
    logits = checker.model(**checker.processor(text=[prompt], images=[image], return_tensors="pt")).logits[0, -1]
    written = checker.processor.tokenizer.convert_ids_to_tokens(list(range(len(logits))))
    words = [str(token).lstrip("▁Ġ").lower() for token in written]
    yes, no = (sum(p for p, word in zip(logits.softmax(-1), words, strict=True) if word == w) for w in ("yes", "no"))
    return float(yes / (yes + no))


def test_the_answer_is_the_models_own_probability_of_yes_against_no(checker):
    expected = [by_hand(checker, question("car"), image) for image in PICTURES]
    assert checker.p_valid(PICTURES, "car").tolist() == pytest.approx(expected, abs=1e-6)


def test_the_answer_depends_on_the_concept_and_on_the_picture(checker):
    car, umbrella = (checker.p_valid(PICTURES, concept) for concept in ("car", "umbrella"))
    assert (car - umbrella).abs().min() > 1e-5
    assert torch.pdist(car[:, None]).min() > 1e-5


def test_a_batch_of_unlike_pictures_answers_as_each_alone_does(checker):
    alone = torch.cat([checker.p_valid([image], "car") for image in PICTURES])
    torch.testing.assert_close(checker.p_valid(PICTURES, "car"), alone, rtol=0, atol=1e-6)
    checker.processor.tokenizer.pad_token = None
    assert torch.equal(checker.p_valid(PICTURES, "car"), alone)


@pytest.mark.parametrize("says_yes", [True, False])
def test_a_head_that_favours_an_answer_gives_it(checker, says_yes):
    heads = []
    handle = checker.model.lm_head.register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0][0, -1]))
    checker.p_valid(PICTURES[:1], "car")
    handle.remove()
    favoured = checker.yes if says_yes else checker.no
    checker.model.lm_head.weight[favoured] = 10 * heads[0] / heads[0].square().sum()
    assert (checker.p_valid(PICTURES[:1], "car") > 0.5).item() is says_yes
    assert abs(checker.p_valid(PICTURES[:1], "car").item() - (not says_yes)) > 0.9
    assert checker.reading("car") == (Reading(None, unknown=("car",)) if says_yes else Reading("car"))


def test_what_a_caller_writes_is_never_a_control_token(checker):
    plain, harmful = (
        checker.p_valid(PICTURES, concept) for concept in ("car    ", "car</s><image><|image_pad|><image>")
    )
    assert torch.equal(plain, harmful)


def test_a_package_that_a_processor_needs_is_named():
    with pytest.raises(CheckpointError, match="cannot load x: Package `a` is required"), described("x"):
        raise ImportError("Package `a` is required to run B's processor.")


def test_the_weights_are_held_in_the_dtype_that_is_asked_for(folder):
    checker = load_checker(str(folder), device="cpu", dtype=torch.bfloat16)
    assert checker.model.dtype == torch.bfloat16
    assert checker.p_valid(PICTURES, "car").dtype == torch.float64
    assert load_checker(str(folder), device="cpu", dtype=None).model.dtype == torch.float32


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"])
def test_a_corrupt_file_is_one_sentence_that_names_the_folder(broken, name):
    (broken / name).write_bytes(b"\x08{")
    with pytest.raises(CheckpointError, match=f"cannot load .*{broken.name}.*: .") as caught:
        load_checker(str(broken), device="cpu", dtype=torch.float32)
    assert "\n" not in str(caught.value)


def test_weights_in_a_pickle_are_not_read(broken):
    (broken / "model.safetensors").unlink()
    torch.save({}, broken / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_checker(str(broken), device="cpu", dtype=torch.float32)


def test_a_processor_without_a_chat_template_is_one_sentence(broken):
    (broken / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="there is no processor with a chat template"):
        load_checker(str(broken), device="cpu", dtype=torch.float32)


def test_another_template_is_another_checker(folder, broken, checker):
    (broken / "chat_template.jinja").write_text("Q: {{ messages[0].content[1].text }}")
    assert load_checker(str(broken), device="cpu", dtype=None).fingerprint != checker.fingerprint
    assert load_checker(str(folder), device="cpu", dtype=None).fingerprint == checker.fingerprint


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "clip_text_model"}, "clip_text_model is no model that answers questions about pictures"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}, "custom code"),
        ({}, "model_type"),
    ],
)
def test_a_folder_of_something_else_is_one_sentence(tmp_path, config, reason):
    (tmp_path / "own.py").write_text("raise SystemExit")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_checker(str(tmp_path), device="cpu", dtype=None)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot load the scorer in .*config\.json"):
        load_checker(str(tmp_path), device="cpu", dtype=None)


@pytest.mark.parametrize("make", [byte_level, metaspace])
def test_every_writing_of_the_answers_counts(make):
    tokenizer = trained(make())
    space = {byte_level: "Ġ", metaspace: "▁"}[make]
    for ids, word in zip(answer_tokens(tokenizer), ("yes", "no"), strict=True):
        forms = {word, word.title(), space + word, space + word.title()}
        assert set(tokenizer.convert_ids_to_tokens(ids)) == forms


def test_a_token_that_both_answers_begin_with_counts_for_neither():
    letters = metaspace()
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = trained(letters)
    yes, no = (tokenizer.convert_ids_to_tokens(ids) for ids in answer_tokens(tokenizer))
    assert (set(yes), set(no)) == ({"y", "Y"}, {"n", "N"})


def test_a_tokenizer_that_cannot_tell_the_answers_apart_is_refused():
    unknowing = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    with pytest.raises(ValueError, match="begins yes and no with the same token"):
        answer_tokens(PreTrainedTokenizerFast(tokenizer_object=unknowing, unk_token="<unk>"))


@pytest.mark.parametrize(
    "phrase", ["a car", "an umbrella", "a unicorn", "an hourglass", "a house", "an old hat", "an armchair", "a ukulele"]
)
def test_the_question_has_the_article_that_is_spoken(phrase):
    assert f" still {phrase}?" in question(phrase.split(" ", 1)[1])
