"""The prior's loop, written out so that it has a gradient, is diffusers' pipeline."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import KandinskyPriorPipeline
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from services.bounds import STRENGTH
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.kandinsky.schedule import FRINGE, VARIATION_STEPS, variation_of
from services.diffusion.runtime.checkpoint import checkpoint_folder
from services.errors import CheckpointError


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Kandinsky:
    return Kandinsky.load(str(folder / "prior"), str(folder / "decoder"), device="cpu", dtype=dtype)


@pytest.fixture
def pipeline(model):
    pipeline = KandinskyPriorPipeline(
        prior=model.prior,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        scheduler=model.scheduler,
        image_encoder=model.image_encoder,
        image_processor=model.image_processor,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("guidance_scale", [4.0, 1.0])
@pytest.mark.parametrize("prompt", ["a photo of a handbag", "", "word " * 30])
def test_unsteered_prior_equals_diffusers_bit_for_bit(model, pipeline, prompt, guidance_scale):
    settings = {"num_images_per_prompt": 3, "num_inference_steps": 5, "guidance_scale": guidance_scale}
    theirs = pipeline(prompt, generator=noise_of([1, 2, 3]), **settings)
    own = replace(model, guidance_scale=guidance_scale)
    assert torch.equal(own.sample_prior(own.encode_prompt(prompt), noise_of([1, 2, 3]), 3), theirs.image_embeds)


@pytest.mark.parametrize("guidance_scale", [4.0, 1.0])
def test_the_cached_prompt_changes_nothing_but_rounding(checkpoint, guidance_scale):
    """Prompts of unlike length in one batch: padding inside it must stay unseen."""
    exact = replace(load(checkpoint, torch.float64), guidance_scale=guidance_scale)
    prompts = [exact.encode_prompt(prompt) for prompt in ("a photo of a handbag", "", "word " * 30)]
    for positive, batch in ((prompts[0], 2), (Encoding.cat(prompts), 3)):
        seeds = list(range(batch))
        slow = exact.sample_prior(positive, noise_of(seeds), batch)
        fast = exact.sample_prior(positive, noise_of(seeds), batch, cached=True)
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("strength", [0.0, STRENGTH, 1.0])
def test_a_pictures_own_embedding_is_where_its_variations_begin(checkpoint, cached, strength):
    """The latents that enter are the scheduler's noise, the more the stronger, on the standardised embedding."""
    model, start = load(checkpoint, torch.float64), torch.linspace(-1, 1, 16, dtype=torch.float64)
    seen = []
    handle = model.prior.proj_in.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    model.sample_prior(
        model.encode_prompt("a handbag"), noise_of([4]), 1, start=start, strength=strength, cached=cached
    )
    handle.remove()
    noise = torch.randn(1, 16, generator=noise_of([4])[0], dtype=torch.float64)
    clean = (start - model.prior.clip_mean) / model.prior.clip_std
    timestep = {0.0: FRINGE, STRENGTH: 0.5, 1.0: 1 - FRINGE}[strength] * 999
    assert len(seen) == VARIATION_STEPS
    noisy = model.scheduler.add_noise(clean, noise, torch.tensor([round(timestep)]))
    torch.testing.assert_close(seen[0][-1:], noisy)


def test_the_usual_strength_is_to_the_bit_the_last_steps_of_the_whole(model):
    usual, whole = model.sampler.schedule(torch.ones(16)), model.sampler.whole
    assert usual.steps == whole.steps[-VARIATION_STEPS:]
    assert all(map(torch.equal, usual.times, whole.times[-VARIATION_STEPS:]))
    assert [s.timestep for s in variation_of(model.scheduler, STRENGTH)] == [500, 250, 0]


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_the_steps_of_a_variation_are_the_schedulers(model, strength):
    steps = variation_of(model.scheduler, strength)
    predicted, latents = torch.randn(2, 3, 16, generator=noise_of([0])[0]).double()
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        own = step(predicted, latents, torch.randn(3, 16, generator=noise_of([1])[0]).double() if after else None)
        previous = {"prev_timestep": after.timestep} if after else {}
        more = {"generator": noise_of([1])[0]} | previous
        theirs = model.scheduler.step(predicted.float(), step.timestep, latents.float(), **more)
        torch.testing.assert_close(own.float(), theirs.prev_sample, rtol=1e-4, atol=1e-5)


def test_a_picture_is_embedded_as_the_pipeline_embeds_it(model, pipeline):
    image = Image.effect_noise((40, 30), 90).convert("RGB")
    pixels = pipeline.image_processor(image, return_tensors="pt").pixel_values
    theirs = pipeline.image_encoder(pixels).image_embeds[0]
    torch.testing.assert_close(model.embed_image(image), theirs)


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


def say_space(path, space):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"space": space}))


@pytest.mark.parametrize("other", ["decoder/defaults.json", "prior/image_encoder/config.json"])
def test_parts_of_two_spaces_are_refused_by_both_names_and_a_silent_part_is_taken(copied, other):
    (copied / "prior/defaults.json").write_text('{"space": "mine"}')
    load(copied)
    say_space(copied / other, "mine")
    load(copied)
    say_space(copied / other, "theirs")
    with pytest.raises(CheckpointError, match=r"prior has the space mine, .*(decoder|image_encoder) has theirs"):
        load(copied)


def test_parts_of_two_dimensions_are_refused_by_both(copied):
    folder = copied / "prior/image_encoder"
    config = CLIPVisionConfig.from_pretrained(folder, projection_dim=8)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"prior has the dimension 16, .*image_encoder has 8"):
        load(copied)


@pytest.mark.parametrize("part", ["prior/scheduler", "decoder/movq"])
def test_a_missing_part_is_one_sentence(copied, part):
    (copied / part).rename(copied / "elsewhere")
    with pytest.raises(CheckpointError, match="cannot load"):
        load(copied)


def test_a_missing_folder_is_named():
    with pytest.raises(CheckpointError, match="the checkpoint no/such/folder: there is no such folder"):
        checkpoint_folder("no/such/folder")
