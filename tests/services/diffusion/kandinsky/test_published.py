"""Kandinsky 2.1 as its two repositories have it: it loads as it is, and gives what diffusers' pipelines give."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import KandinskyPriorPipeline
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from services.diffusion.density.fit import fit_density
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import DecodeSettings, noise_of
from services.diffusion.kandinsky.model import Kandinsky
from services.errors import CheckpointError
from tests.kandinsky_as_published import DECODER, PRIOR


def nothing(*_: object) -> None:
    """A report that goes nowhere."""


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Kandinsky:
    return Kandinsky.load(str(folder / PRIOR), str(folder / DECODER), device="cpu", dtype=dtype)


@pytest.fixture(scope="module")
def model(published):
    return load(published)


@pytest.fixture
def copied(published, tmp_path):
    """A copy, to break."""
    return Path(shutil.copytree(published, tmp_path / "published"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_loads_and_a_density_is_fitted_and_a_picture_drawn(published, dtype):
    model = load(published, dtype)
    assert {model.prior.dtype, model.text_encoder.dtype, model.decoder.unet.dtype} == {dtype}
    density = fit_density(model, Subject("handbag", "a photo of a {}"), samples=200, seed=0, report=nothing)
    assert density.samples == 200
    embeds = model.sample_prior(model.encode_prompt("a photo of a handbag"), noise_of([0]), 1)
    (picture,) = model.decoder.decode(embeds, noise_of([0]), DecodeSettings(64, 2, 7.5), nothing)
    assert picture.size == (64, 64)
    assert len(picture.getcolors(64 * 64)) > 1
    assert model.embed_image(picture).isfinite().all()


def test_its_prior_is_the_pipelines_bit_for_bit_though_that_pads_with_another_token(model, published):
    tokenizer = CLIPTokenizer.from_pretrained(published / PRIOR / "tokenizer")
    parts = {name: getattr(model, name) for name in ("prior", "text_encoder", "scheduler", "image_encoder")}
    pipeline = KandinskyPriorPipeline(tokenizer=tokenizer, image_processor=model.image_processor, **parts)
    pipeline.set_progress_bar_config(disable=True)
    prompt, settings = "a photo of a handbag", {"num_inference_steps": 5, "guidance_scale": 4.0}
    theirs = pipeline(prompt, generator=noise_of([3]), **settings).image_embeds
    assert tokenizer.pad_token == "!"
    assert torch.equal(model.sample_prior(model.encode_prompt(prompt), noise_of([3]), 1), theirs)


@pytest.mark.parametrize("prompt", ["wow! a handbag", "a handbag!", "!", "what?! a handbag!!!"])
def test_an_exclamation_mark_is_text_and_what_pads_is_not(model, prompt):
    """As CLIP learnt it: to the published tokenizer "!" is the padding, wherever it stands."""
    tokens = model.tokenize(prompt)
    begin, end = 49406, 49407
    text = [begin, *SimpleTokenizer().encode(prompt), end]
    assert tokens.ids[0, : len(text)].tolist() == text
    assert tokens.mask[0].tolist() == [True] * len(text) + [False] * (77 - len(text))


def test_an_exclamation_mark_is_seen(model):
    with_mark, without = (model.encode_prompt(prompt).text_embeds for prompt in ("wow! a handbag", "wow a handbag"))
    assert not torch.allclose(with_mark, without)


def test_a_missing_pooler_is_nothing_and_any_other_missing_weight_is_named(copied):
    weights = load_file(copied / DECODER / "text_encoder/model.safetensors")
    assert not [name for name in weights if "pooler" in name]
    del weights["LinearTransformation.bias"]
    save_file(weights, copied / DECODER / "text_encoder/model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"text_encoder: weights are missing: LinearTransformation\.bias$"):
        load(copied)
