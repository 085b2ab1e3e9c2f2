"""Laws of the use case, on a small random checkpoint, whose pictures no judge recognises."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save

from services.bounds import STRENGTH
from services.diffusion.density.fit import fit_density
from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate, replay, sample_plain, threads, trials_for
from services.diffusion.replay import GenerationConfig, from_json, to_json
from services.diffusion.run import Run
from services.diffusion.steering.clusters import History, Steering, steer
from services.errors import ReplayError
from services.sizes import Rectangle
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)


def test_a_seed_gives_its_images_again_and_another_seed_others(run):
    first, again, other = run(seed=3), run(seed=3), run(seed=4)
    assert first.outputs[0].image.tobytes() == again.outputs[0].image.tobytes()
    assert first.outputs[0].image.tobytes() != other.outputs[0].image.tobytes()


@pytest.fixture
def steering(model, density) -> Steering:
    """Every kind of wish at once."""
    samples = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    history = History(seen=samples, liked=samples[:1], disliked=samples[1:3])
    return steer(model, density, SUBJECT, avoid=["red"], toward=[samples[3:]], history=history, report=lambda *_: None)


@pytest.mark.parametrize("mode", ["calibrated", "paper"])
@pytest.mark.parametrize("space", [["token"], ["adjective", "lora"]])
def test_a_replay_block_alone_gives_the_image_again_bit_for_bit(run, model, density, checker, steering, mode, space):
    trials = {"calibrated": 4, "paper": 1}[mode]
    output = run(count=2, trials=trials, seed=10, steps=30, space=space, mode=mode, steering=steering).outputs[1]
    block = json.loads(json.dumps(output.replay))
    again = replay(model, density, checker, block, lambda *_: None)
    assert again.image.tobytes() == output.image.tobytes()
    assert (again.rarity, again.novelty_bits, again.replay) == (output.rarity, output.novelty_bits, output.replay)


def test_a_variation_comes_again_with_its_strength_and_a_block_of_before_there_was_any(model, checker):
    config, blocks = GenerationConfig(3.0, seed=3, count=2, steps=8, trials=6, variety=0.8), []
    for strength in (0.1, STRENGTH):
        subject = Subject("handbag", DEFAULT_PROMPT, torch.ones(16), strength)
        density = fit_density(model, subject, samples=200, seed=0, report=lambda *_: None)
        output = generate(Run(model, density, checker, subject, config), lambda *_: None).outputs[1]
        block = json.loads(json.dumps(output.replay))
        assert replay(model, density, checker, block, lambda *_: None).image.tobytes() == output.image.tobytes()
        blocks.append(block["recipe"])
    del blocks[1]["strength"], blocks[1]["variety"]
    before, was, _ = from_json(blocks[1])
    assert (before, was.strength) == (replace(config, variety=0.0, space=before.space), STRENGTH)
    assert from_json(blocks[0])[1].strength == 0.1


def test_a_replay_of_a_seed_that_the_run_never_had_is_refused(run, model, density, checker):
    block = run().outputs[0].replay | {"row_seed": 99}
    with pytest.raises(ReplayError, match="no picture of the run has the seed 99"):
        replay(model, density, checker, block, lambda *_: None)


def test_a_replay_runs_on_as_many_threads_as_the_picture_did(run, model, density, checker):
    with threads(2):
        output = run(trials=4).outputs[0]
    seen = []
    with threads(1):
        replay(model, density, checker, output.replay, lambda *_: seen.append(torch.get_num_threads()))
        assert torch.get_num_threads() == 1
    assert set(seen) == {2}


def test_steering_survives_json_to_the_last_bit(steering):
    config = GenerationConfig(target_bits=9.97, seed=2**53 - 1, space=["lora"])
    again, subject, copied = from_json(json.loads(json.dumps(to_json(config, SUBJECT, steering))))
    assert (again, subject.concept, subject.prompt) == (config, SUBJECT.concept, SUBJECT.prompt)
    clusters = zip(steering.avoid + steering.toward, copied.avoid + copied.toward, strict=True)
    assert all(torch.equal(a.mean, b.mean) and torch.equal(a.variance, b.variance) for a, b in clusters)
    assert torch.equal(copied.belief.factor, steering.belief.factor)


def test_a_replay_with_another_density_is_refused(run, model, density, checker):
    block = run().outputs[0].replay
    with pytest.raises(ReplayError, match=f"of the density {density.fingerprint[:12]}, this one is "):
        replay(model, replace(density, seed=1), checker, block, lambda *_: None)


def test_a_replay_block_that_names_its_density_with_the_concept_gives_the_image_again(run, model, density, checker):
    output = run().outputs[0]
    tensors, meta = density._parts()
    del meta["text"]
    meta |= {"concept": SUBJECT.concept, "prompt": SUBJECT.prompt}
    block = output.replay | {"density": sha256(save(tensors) + json.dumps(meta, sort_keys=True).encode()).hexdigest()}
    assert block != output.replay
    assert replay(model, density, checker, block, lambda *_: None).image.tobytes() == output.image.tobytes()


def test_the_concept_is_the_subject_s_and_not_that_of_whoever_fitted_the_density(model, checker, run, density):
    elsewhere = Subject("4k", SUBJECT.text.replace("4k", "{}"))
    theirs = fit_density(model, elsewhere, samples=1000, seed=0, report=lambda *_: None)
    config = GenerationConfig(target_bits=6.6, steps=8, trials=1, seed=0, space=["token"])
    made, own = generate(Run(model, theirs, checker, SUBJECT, config), lambda *_: None), run(space=["token"])
    assert made.outputs[0].image.tobytes() == own.outputs[0].image.tobytes()
    assert (made.outputs[0].replay, made.warnings) == (own.outputs[0].replay, own.warnings)
    others = generate(Run(model, density, checker, elsewhere, config), lambda *_: None)
    assert others.warnings[0] == "the judge does not know ‘4k’: validity is not given"
    assert others.outputs[0].replay["recipe"]["concept"] == "4k"
    assert others.outputs[0].image.tobytes() != own.outputs[0].image.tobytes()


@pytest.mark.parametrize("other", [replace(SUBJECT, prompt="a {}"), replace(SUBJECT, start=torch.ones(16))])
def test_a_density_of_another_text_or_start_is_refused(model, density, checker, other):
    with pytest.raises(ValueError, match=f"not of ‘{other.text}’, or of another start"):
        Run(model, density, checker, other, GenerationConfig(target_bits=5.0, seed=0))


def test_outputs_carry_their_figures_and_replay_is_json(run, model, density):
    result = run(count=2, trials=3, size=128)
    assert len(result.outputs) == 2
    for output in result.outputs:
        assert output.image.size == (128, 128)
        assert output.rarity.keys() == {"percentile", "bits", "d2", "residual"}
        assert output.rarity["bits"] == density.bits(output.rarity["d2"])
        assert 0 <= output.validity <= 1
        assert -1 <= output.anchor <= 1
        assert json.loads(json.dumps(output.replay))["model"] == model.fingerprint
        assert output.replay["density"] == density.fingerprint
    assert result.timings_ms.keys() == {"optimize", "check", "decode"}


def test_a_run_from_a_bare_source_tree_says_that_no_version_is_installed(run, monkeypatch):
    monkeypatch.setattr("services.diffusion.run.LIBRARIES", ("never-installed", "torch"))
    versions = run().outputs[0].replay["versions"]
    assert versions["never-installed"] is None
    assert versions["torch"] == torch.__version__


def test_every_step_is_reported_with_its_phase(run):
    seen = []
    run(steps=4, decoder_steps=2, report=lambda *row: seen.append(row))
    judged = [*[("decode", step, 2) for step in (1, 2)], *[("check", step, 1) for step in (0, 1)]]
    optimized = [("optimize", step, 4) for step in (1, 2, 3, 4)]
    candidate, in_full = judged, judged
    assert [row[:3] for row in seen] == [*optimized, *candidate, optimized[-1], *in_full]
    assert all(isinstance(row[3], float) for row in seen if row[0] == "optimize")


@pytest.mark.parametrize("phase", ["optimize", "decode", "check"])
def test_a_report_that_raises_ends_the_run_in_every_phase(run, phase):
    def stop(now, _step, _steps, _bits):
        if now == phase:
            raise TimeoutError(phase)

    with pytest.raises(TimeoutError, match=phase):
        run(report=stop)


def test_what_could_not_be_reached_is_a_warning_with_the_values(run):
    result = run(target_bits=30.0, steps=1)
    assert result.warnings[0].startswith("1 of 1 images are below 30.0 bits; the rarest has ")
    assert "validity 0." in result.warnings[1]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"count": 3, "trials": 2}, "3 images need at least as many trials, got 2"),
        ({"target_bits": 0.0}, "a rarity must be above 0 bits and finite, got 0.0"),
        ({"size": 65}, "size must be a positive multiple of 16 pixels, got 65"),
        ({"mode": "paper", "trials": 2}, "the mode paper has one trial, got 2"),
        ({"space": ["noise"]}, "there is no space 'noise', only token, adjective, lora"),
    ],
)
def test_what_cannot_be_is_refused_with_the_values(run, own, message):
    with pytest.raises(ValueError, match=message):
        run(**own)


@pytest.mark.parametrize("count", range(1, 17))
def test_there_are_more_trials_than_images(count):
    assert count < trials_for(count) <= 64


def test_plain_samples_are_where_the_trials_start(run, model, density, checker):
    started = run(steps=1, seed=5).outputs[0]
    config = GenerationConfig(target_bits=5.0, seed=0)
    plain = sample_plain(Run(model, density, checker, SUBJECT, config), lambda *_: None, [4, started.seed])
    assert [output.seed for output in plain] == [4, started.seed]
    assert plain[1].rarity["d2"] == pytest.approx(started.rarity["d2"], rel=1e-3)


@pytest.mark.parametrize("mode", ["calibrated", "paper"])
def test_a_size_that_the_model_was_not_trained_for_is_made_with_a_warning(run, mode):
    sentence = "the model is made for pictures of 64 pixels, not 128"
    made = run(mode=mode, size=128)
    assert made.outputs[0].image.size == (128, 128)
    assert sentence in made.warnings
    assert sentence not in run(mode=mode, size=64).warnings


def test_a_picture_that_is_not_square_is_made_with_a_warning_and_comes_again(run, model, density, checker):
    made = run(size=Rectangle(96, 64), steps=2)
    assert made.outputs[0].image.size == (96, 64)
    assert "the model is made for squares of 64 pixels: at 96×64 things may be stretched or doubled" in made.warnings
    block = json.loads(json.dumps(made.outputs[0].replay))
    assert block["recipe"]["size"] == block["size"] == {"width": 96, "height": 64}
    again = replay(model, density, checker, block, lambda *_: None)
    assert again.image.tobytes() == made.outputs[0].image.tobytes()


@pytest.mark.parametrize("size", [None, 128])
def test_a_square_has_its_edge_in_the_block(run, size):
    block = run(size=size, steps=1).outputs[0].replay
    assert (block["recipe"]["size"], block["size"], block["candidate"]["size"]) == (size, size or 64, 48)


def test_a_density_of_another_model_is_refused(model, density, checker):
    other = replace(density, model_fingerprint="f" * 64)
    with pytest.raises(ValueError, match="the density is of the model ffffffffffff, not "):
        Run(model, other, checker, SUBJECT, GenerationConfig(target_bits=5.0, seed=0))


@pytest.mark.parametrize("mode", ["calibrated", "paper"])
def test_what_the_judge_does_not_know_has_no_validity_and_is_made_all_the_same(model, density, checker, run, mode):
    stranger = replace(checker, nouns=["chair", "cup"], floor=2.0)
    config = GenerationConfig(6.6, seed=0, count=2, steps=30, mode=mode, trials={"calibrated": 6, "paper": 1}[mode])
    made = generate(Run(model, density, stranger, SUBJECT, config), lambda *_: None)
    assert made.warnings[0] == "the judge does not know ‘handbag’: validity is not given"
    assert [output.validity for output in made.outputs] == [None, None]
    unchecked = "mode paper: no check could end the trial, which took all its steps"
    assert (unchecked in made.warnings) is (mode == "paper")
    assert unchecked not in run(mode=mode).warnings
    block = json.loads(json.dumps(made.outputs[1].replay))
    assert replay(model, density, stranger, block, lambda *_: None).image.tobytes() == made.outputs[1].image.tobytes()
