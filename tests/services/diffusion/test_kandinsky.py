"""The prior's loop, written out so that it has a gradient, is diffusers' pipeline."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import KandinskyPriorPipeline
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from services.diffusion.checkpoint import checkpoint_folder
from services.diffusion.kandinsky import Encoding, Kandinsky
from services.diffusion.optimize import noise_of
from services.diffusion.spaces import TokenSpace, concept_places
from services.errors import CheckpointError, PromptError


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Kandinsky:
    return Kandinsky.load(str(folder / "prior"), str(folder / "decoder"), device="cpu", dtype=dtype)


@pytest.fixture
def pipeline(model, full_checkpoint):
    pipeline = KandinskyPriorPipeline(
        prior=model.prior,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        scheduler=model.scheduler,
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(full_checkpoint / "prior/image_encoder"),
        image_processor=CLIPImageProcessor(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("guidance_scale", [4.0, 1.0])
@pytest.mark.parametrize("prompt", ["a photo of a handbag", "", "word " * 60])
def test_unsteered_prior_equals_diffusers_bit_for_bit(model, pipeline, prompt, guidance_scale):
    settings = {"num_images_per_prompt": 3, "num_inference_steps": 5, "guidance_scale": guidance_scale}
    theirs = pipeline(prompt, generator=noise_of([1, 2, 3]), **settings)
    own = replace(model, guidance_scale=guidance_scale)
    assert torch.equal(own.sample_prior(own.encode_prompt(prompt), noise_of([1, 2, 3]), 3), theirs.image_embeds)


@pytest.mark.parametrize("guidance_scale", [4.0, 1.0])
def test_the_cached_prompt_changes_nothing_but_rounding(checkpoint, guidance_scale):
    """Prompts of unlike length in one batch: padding inside it must stay unseen."""
    exact = replace(load(checkpoint, torch.float64), guidance_scale=guidance_scale)
    prompts = [exact.encode_prompt(prompt) for prompt in ("a photo of a handbag", "", "word " * 60)]
    for positive, batch in ((prompts[0], 2), (Encoding.cat(prompts), 3)):
        seeds = list(range(batch))
        slow = exact.sample_prior(positive, noise_of(seeds), batch)
        fast = exact.sample_prior(positive, noise_of(seeds), batch, cached=True)
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)


def test_tokens_that_have_learnt_nothing_change_nothing(model):
    prompt = "a photo of a straw handbag."
    space = TokenSpace(model, "straw handbag", "a photo of a {}.", 2)
    assert torch.equal(space.encode([1]).hidden_states, model.encode_prompt(prompt).hidden_states)


def test_a_learnt_token_is_that_words_embedding(model):
    """Learning "chair"'s vectors in "handbag"'s place gives the chair's own prompt."""
    space = TokenSpace(model, "handbag", "a photo of a {}.", 1)
    other = TokenSpace(model, "chair", "a photo of a {}.", 1)
    with torch.no_grad():
        space.offsets[0].copy_(other.words - space.words)
    ours, theirs = space.encode([0]), model.encode_prompt("a photo of a chair.")
    torch.testing.assert_close(ours.text_embeds, theirs.text_embeds)
    torch.testing.assert_close(ours.hidden_states, theirs.hidden_states)


@pytest.mark.parametrize("cached", [False, True])
def test_the_gradient_of_the_tokens_matches_finite_differences(checkpoint, cached):
    exact = load(checkpoint, torch.float64)
    space = TokenSpace(exact, "handbag", "a {}.", 1)
    direction = torch.randn(exact.prior.config.embedding_dim, dtype=torch.float64)

    def value(offset: torch.Tensor) -> torch.Tensor:
        space.offsets = [offset]
        return exact.sample_prior(space.encode([0]), noise_of([0]), 1, cached=cached) @ direction

    words = torch.zeros_like(space.words, dtype=torch.float64, requires_grad=True)
    space.words = space.words.double()
    assert torch.autograd.gradcheck(value, (words,), eps=1e-6, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize(("prompt", "places"), [("sub{}way.", [1]), ("{}", [0]), ("{} of a chair", [0])])
def test_the_concepts_tokens_are_found_by_their_characters(prompt, places):
    start = prompt.index("{}")
    spans = [(0, 0), (0, start), (start, start + 4), (start + 4, start + 8)] if start else [(0, 4), (5, 8), (0, 0)]
    assert concept_places(spans, start, 4) == ([2] if start else places)


def test_a_concept_cut_off_by_the_encoders_length_is_refused(model):
    with pytest.raises(PromptError, match="32 tokens hold no part of the concept 'handbag'"):
        TokenSpace(model, "handbag", "word " * 40 + "{}", 1)


def test_loading_gives_the_same_fingerprint_and_other_weights_another(model, checkpoint, copied):
    again = load(copied)
    assert again.fingerprint == model.fingerprint
    (copied / "decoder/defaults.json").write_text('{"num_inference_steps": 4, "guidance_scale": 3.0}')
    other = load(copied)
    assert other.fingerprint != model.fingerprint


@pytest.mark.parametrize(
    "part",
    [
        "prior/prior/diffusion_pytorch_model.safetensors",
        "prior/text_encoder/config.json",
        "prior/tokenizer/tokenizer.json",
        "decoder/constants.safetensors",
        "decoder/defaults.json",
    ],
)
def test_a_corrupt_checkpoint_is_one_sentence_that_names_the_folder(copied, part):
    (copied / part).write_bytes(b"\x08broken")
    with pytest.raises(CheckpointError, match=r"cannot load .*(prior|decoder).*: .") as caught:
        load(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["prior/scheduler", "decoder/movq"])
def test_a_missing_part_is_one_sentence(copied, part):
    (copied / part).rename(copied / "elsewhere")
    with pytest.raises(CheckpointError, match="cannot load"):
        load(copied)


def test_a_missing_folder_is_named():
    with pytest.raises(CheckpointError, match="the checkpoint no/such/folder: there is no such folder"):
        checkpoint_folder("no/such/folder")
