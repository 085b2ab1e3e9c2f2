"""The decoder's loop is diffusers' pipeline, with a report at every step."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import KandinskyPipeline, VQModel
from diffusers.models.attention_processor import SpatialNorm
from diffusers.pipelines.kandinsky.text_encoder import MultilingualCLIP
from torch.testing import assert_close
from transformers import AutoTokenizer, CLIPVisionModelWithProjection

from services.diffusion.kandinsky.decoder import DecodeSettings, noise_of
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.kandinsky.spatial_norm import with_latent_norms
from services.sizes import Rectangle, sides_of
from tests.kandinsky_as_published import DECODER, PRIOR
from tests.services.diffusion.conftest import load

MOVQ = Path(__file__).parents[4] / "deploy/checkpoints/rarebit-mini/decoder/movq"


def nothing(_step: int, _steps: int) -> None:
    """A report that goes nowhere."""


@pytest.fixture(scope="module")
def full(published):
    return Kandinsky.load(str(published / PRIOR), str(published / DECODER), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def pipeline(full, published):
    """diffusers' own, which encodes the empty prompt where ours has kept what that gave."""
    text_encoder = MultilingualCLIP.from_pretrained(published / DECODER / "text_encoder").eval()
    pipeline = KandinskyPipeline(
        text_encoder,
        AutoTokenizer.from_pretrained(published / DECODER / "tokenizer"),
        full.decoder.unet,
        full.decoder.scheduler,
        VQModel.from_pretrained(published / DECODER / "movq").eval().to(memory_format=torch.channels_last),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


SIZES = [(64, 3.0), (128, 7.5), (128, 1.0), (Rectangle(128, 64), 3.0), (Rectangle(64, 192), 1.0)]


@pytest.mark.parametrize(("size", "guidance_scale"), SIZES)
def test_decoding_equals_diffusers_but_for_rounding(full, pipeline, published, size, guidance_scale):
    """On Kandinsky 2.1 as it is published, whose constants are computed once and its encoders dropped.

    Equal bit for bit where the CPU has AVX-512; with less, a value in ten thousand is rounded to its neighbour.
    """
    width, height = sides_of(size)
    vision = CLIPVisionModelWithProjection.from_pretrained(published / PRIOR / "image_encoder").eval()
    embeds = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    theirs = pipeline(
        "",
        image_embeds=embeds,
        negative_image_embeds=vision(torch.zeros(1, 3, 32, 32)).image_embeds,
        height=height,
        width=width,
        num_inference_steps=4,
        guidance_scale=guidance_scale,
        generator=noise_of([5]),
    )
    ours = full.decoder.decode(embeds, noise_of([5]), DecodeSettings(size, 4, guidance_scale), nothing)
    assert ours[0].size == (width, height)
    apart = np.abs(np.asarray(ours[0], dtype=int) - np.asarray(theirs.images[0]))
    assert apart.max() <= 1
    assert apart.mean() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_normalising_by_latents_in_place_is_diffusers_own(dtype):
    latents = torch.randn(1, 12, 4, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    theirs = VQModel.from_pretrained(MOVQ, torch_dtype=dtype).eval()
    pixels = theirs.decode(latents, force_not_quantize=True).sample
    ours = with_latent_norms(theirs)
    assert not any(isinstance(part, SpatialNorm) for part in ours.modules())
    assert_close(ours.decode(latents, force_not_quantize=True).sample, pixels)


def test_every_step_is_reported_and_a_report_that_raises_stops_there(model):
    seen = []

    def stop_at_two(step, steps):
        seen.append((step, steps))
        if step == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        model.decoder.decode(torch.zeros(1, 16), noise_of([0]), DecodeSettings(64, 5, 3.0), stop_at_two)
    assert seen == [(1, 5), (2, 5)]


def test_the_embedding_makes_the_picture(model):
    images = model.decoder.decode(
        torch.stack([torch.zeros(16), torch.ones(16)]), noise_of([0, 0]), DecodeSettings(64, 3, 3.0), nothing
    )
    assert images[0].tobytes() != images[1].tobytes()


@pytest.mark.parametrize(("size", "shape"), [(64, (4, 8, 8)), (Rectangle(96, 64), (4, 8, 12))])
def test_noise_is_that_of_each_rows_seed_alone(model, size, shape):
    seen = []
    hook = model.decoder.unet.register_forward_pre_hook(lambda _unet, arguments: seen.append(arguments[0]))
    model.decoder.decode(torch.zeros(2, 16), noise_of([3, 5]), DecodeSettings(size, 1, 1.0), nothing)
    hook.remove()
    assert seen[0].equal(torch.stack([torch.randn(shape, generator=own) for own in noise_of([3, 5])]))


@pytest.mark.parametrize("size", [0, -64, 63, 100, Rectangle(64, 100), Rectangle(0, 64)])
def test_a_size_the_decoder_cannot_make_is_refused(model, size):
    with pytest.raises(ValueError, match=f"size must be a positive multiple of 16 pixels, got {size}"):
        model.decoder.settings(size, None, None)


def test_defaults_are_the_checkpoints_own(model):
    assert model.decoder.settings(None, None, None) == DecodeSettings(64, 3, 3.0)
    assert model.decoder.settings(128, 9, 1.0) == DecodeSettings(128, 9, 1.0)


def learnt(copied, guidance_scale):
    (copied / "decoder/defaults.json").write_text(
        json.dumps({"num_inference_steps": 3, "guidance_scale": guidance_scale, "guidance_learnt": True})
    )
    return load(copied).decoder


def test_learnt_guidance_is_not_applied_again(model, copied):
    """One branch, whatever it has learnt, is what an unguided model does with the same weights."""
    decoder, embeds = learnt(copied, 2.0), torch.ones(1, 16)
    (picture,) = decoder.decode(embeds, noise_of([5]), decoder.settings(None, None, 2.0), nothing)
    (one_branch,) = model.decoder.decode(embeds, noise_of([5]), DecodeSettings(64, 3, 1.0), nothing)
    assert picture.tobytes() == one_branch.tobytes()


def test_learnt_guidance_is_the_only_one_and_is_told(copied):
    decoder = learnt(copied, 2.0)
    assert decoder.settings(None, None, None) == decoder.settings(None, None, 2.0) == DecodeSettings(64, 3, 2.0)
    with pytest.raises(ValueError, match=r"guidance_scale must be 2, which is learnt, got 7\.5"):
        decoder.settings(None, None, 7.5)


def test_defaults_without_a_word_from_the_checkpoint_are_the_precursors(full):
    assert full.decoder.settings(None, None, None) == DecodeSettings(128, 50, 7.5)
    assert full.decoder.as_candidate(DecodeSettings(256, 50, 3.0)) == DecodeSettings(64, 10, 3.0)


def test_a_candidate_is_never_larger_nor_slower_than_the_picture(model, copied):
    assert model.decoder.as_candidate(DecodeSettings(32, 2, 3.0)) == DecodeSettings(32, 2, 3.0)
    own = {"num_inference_steps": 3, "candidate": {"num_inference_steps": 1}}
    (copied / "decoder/defaults.json").write_text(json.dumps(own))
    assert load(copied).decoder.as_candidate(DecodeSettings(64, 3, 7.5)) == DecodeSettings(48, 1, 7.5)


@pytest.mark.parametrize(
    ("size", "candidate"),
    [
        (256, 48),
        (Rectangle(64, 32), Rectangle(64, 32)),
        (Rectangle(256, 128), Rectangle(64, 32)),
        (Rectangle(64, 192), Rectangle(32, 80)),
        (Rectangle(80, 64), 48),
    ],
)
def test_a_candidate_has_the_same_aspect_but_for_the_grid_on_as_many_pixels(model, size, candidate):
    assert model.decoder.as_candidate(DecodeSettings(size, 3, 3.0)).size == candidate
