"""Laws of what is optimised: nothing learnt changes nothing, each row has its own, gradients are right."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.steering.clusters import require_fitting
from services.diffusion.steering.spaces import Space, Words, places_of
from services.errors import PromptError


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Kandinsky:
    return Kandinsky.load(str(folder / "prior"), str(folder / "decoder"), device="cpu", dtype=dtype)


HANDBAG = Subject("handbag", "a photo of a {}.")
SPACES = [["token"], ["lora"], ["adjective"], ["token", "lora"], ["adjective", "token", "lora"]]


def plain(model: Kandinsky, text: str, seeds: list[int]) -> torch.Tensor:
    return model.sample_prior(model.encode_prompt(text), noise_of(seeds), len(seeds), cached=True)


def sampled(space: Space, rows: list[list[torch.Tensor]], seeds: list[int]) -> torch.Tensor:
    stacks = [torch.stack(part) for part in zip(*rows, strict=True)]
    return space.sample(stacks, space.noise(noise_of(seeds), len(seeds)))


def moved(space: Space, seed: int, scale: float = 0.1) -> list[torch.Tensor]:
    """Parameters that have learnt something."""
    generator = torch.Generator().manual_seed(seed)
    return [p.detach() + scale * torch.randn(p.shape, generator=generator) for p in space.start(seed)]


@pytest.mark.parametrize("names", SPACES)
def test_a_trial_that_has_learnt_nothing_is_the_prompt(model, names):
    space = Space(model, HANDBAG, names)
    text = "a photo of a creative handbag." if "adjective" in names else "a photo of a handbag."
    rows = [space.start(seed) for seed in (1, 2)]
    torch.testing.assert_close(sampled(space, rows, [1, 2]), plain(model, text, [1, 2]))


@pytest.mark.parametrize("names", SPACES)
def test_every_row_has_its_own_parameters(model, names):
    space = Space(model, HANDBAG, names)
    rows = [moved(space, 1), space.start(2), moved(space, 3)]
    together = sampled(space, rows, [1, 2, 3])
    alone = torch.cat([sampled(space, [row], [seed]) for row, seed in zip(rows, (1, 2, 3), strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], sampled(space, [space.start(1)], [1])[0], atol=1e-3)


def test_a_learnt_token_is_that_words_embedding(model):
    """Learning "chair"'s vectors in "handbag"'s place gives the chair's own prompt."""
    handbag, chair = (
        Words(model, Subject(name, HANDBAG.prompt), adjective=False, token=True) for name in ("handbag", "chair")
    )
    ours = handbag.encode((chair.embeddings - handbag.embeddings)[None])
    theirs = model.encode_prompt("a photo of a chair.").trimmed()
    torch.testing.assert_close(ours.text_embeds, theirs.text_embeds)
    torch.testing.assert_close(ours.hidden_states, theirs.hidden_states)


def test_low_rank_factors_are_merged_weights(checkpoint):
    """Without guidance, W + B A in every attention gives what the factors give beside W (LoRA, equation 3)."""
    model = replace(load(checkpoint), guidance_scale=1.0)
    space = Space(model, HANDBAG, ["lora"])
    (vector,) = moved(space, 5)
    steered = sampled(space, [[vector]], [5])
    for block, factors in zip(model.prior.transformer_blocks, space.low_rank.factors(vector[None]), strict=True):
        attention = block.attn1
        added = [*(factors.qkv.a @ factors.qkv.b)[0].chunk(3, dim=1), (factors.out.a @ factors.out.b)[0]]
        for layer, own in zip(
            (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]), added, strict=True
        ):
            layer.weight.data += own.T
    torch.testing.assert_close(plain(model, "a photo of a handbag.", [5]), steered)


@pytest.mark.parametrize("names", SPACES)
def test_the_gradient_matches_finite_differences(checkpoint: Path, names):
    exact = load(checkpoint, torch.float64)
    space = Space(exact, HANDBAG, names)
    if space.words:
        space.words.embeddings = space.words.embeddings.double()
    row = tuple(p.double().requires_grad_() for p in moved(space, 1))
    direction = torch.randn(16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def value(*parameters: torch.Tensor) -> torch.Tensor:
        return sampled(space, [list(parameters)], [0]) @ direction

    assert torch.autograd.gradcheck(value, row, eps=1e-6, rtol=1e-5, fast_mode=True)


def test_the_model_is_left_as_it_was(model):
    before = plain(model, "a photo of a handbag.", [3])
    space = Space(model, HANDBAG, ["adjective", "token", "lora"])
    sampled(space, [moved(space, 1)], [1]).sum()
    assert torch.equal(plain(model, "a photo of a handbag.", [3]), before)
    assert not any(p.requires_grad for p in [*model.prior.parameters(), *model.text_encoder.parameters()])


@pytest.mark.parametrize(("prompt", "places"), [("sub{}way.", [1]), ("{}", [0]), ("{} of a chair", [0])])
def test_the_concepts_tokens_are_found_by_their_characters(prompt, places):
    start = prompt.index("{}")
    spans = [(0, 0), (0, start), (start, start + 4), (start + 4, start + 8)] if start else [(0, 4), (5, 8), (0, 0)]
    assert places_of(spans, start, 4) == ([2] if start else places)


def test_a_prompt_longer_than_the_encoder_reads_is_refused_with_what_would_be_lost(model):
    fits, longer = (Subject("handbag", "word " * words + "{} in red") for words in (27, 28))
    assert Space(model, fits, ["token"]).positive.mask.all()
    with pytest.raises(PromptError, match="the text encoder reads 32 tokens of 33; lost would be: ‘red’"):
        Space(model, longer, ["token"])
    with pytest.raises(PromptError, match="lost would be: ‘red’"):
        require_fitting(model, fits, ["blue"])


def test_a_wish_is_measured_as_it_is_drawn(model):
    """One character of the wish is eighteen in the canonical form."""
    with pytest.raises(PromptError, match=r"lost would be: ‘.* handbag tail’"):
        require_fitting(model, Subject("handbag", "word " * 20 + "{} tail"), ["\ufdfa"])


def test_a_concept_of_no_token_is_refused(model):
    with pytest.raises(PromptError, match="hold no part of the concept"):
        Space(model, Subject(" ", "a photo of a {}."), ["token"])


def test_a_space_that_does_not_exist_is_refused(model):
    with pytest.raises(ValueError, match="no space 'noise'"):
        Space(model, HANDBAG, ["token", "noise"])
