"""Laws of the use case, on a small random checkpoint, whose pictures no judge recognises."""

import json
from math import log2

import pytest

from services.diffusion.generate import Rarity, sample_plain, trials_for


def test_a_seed_gives_its_images_again_and_another_seed_others(run):
    first, again, other = run(seed=3), run(seed=3), run(seed=4)
    assert first.outputs[0].image.tobytes() == again.outputs[0].image.tobytes()
    assert first.outputs[0].image.tobytes() != other.outputs[0].image.tobytes()


def test_what_replay_says_gives_the_image_again(run):
    """One row of several, run alone."""
    output = run(count=2, trials=3, seed=10).outputs[1]
    again = run(seed=output.replay["row_seed"], steps=output.replay["steps"]).outputs[0]
    assert again.rarity["d2"] == pytest.approx(output.rarity["d2"], rel=1e-3)
    assert again.replay["step"] == output.replay["step"]


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


def test_every_step_is_reported_with_its_phase(run):
    seen = []
    run(steps=4, decoder_steps=2, report=lambda *row: seen.append(row))
    assert [row[:3] for row in seen] == [
        *[("optimize", step, 4) for step in (1, 2, 3, 4)],
        *[("decode", step, 2) for step in (1, 2)],
        *[("check", step, 1) for step in (0, 1)],
    ]
    assert all(isinstance(row[3], float) for row in seen[:4])


@pytest.mark.parametrize("phase", ["optimize", "decode", "check"])
def test_a_report_that_raises_ends_the_run_in_every_phase(run, phase):
    def stop(now, _step, _steps, _bits):
        if now == phase:
            raise TimeoutError(phase)

    with pytest.raises(TimeoutError, match=phase):
        run(report=stop)


def test_what_could_not_be_reached_is_a_warning_with_the_values(run):
    result = run(rarity=Rarity(bits=30.0), steps=1)
    assert result.warnings[0].startswith("1 of 1 images are below 30.0 bits; the rarest has ")
    assert "validity 0." in result.warnings[1]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"count": 3, "trials": 2}, "3 images need at least as many trials, got 2"),
        ({"rarity": Rarity(bits=0.0)}, "a rarity must be above 0 bits and finite, got 0.0"),
        ({"size": 65}, "size must be a positive multiple of 64 pixels, got 65"),
        ({"concept": "chair"}, "the density is of 'Professional .* handbag.*', not 'Professional .* chair"),
    ],
)
def test_what_cannot_be_is_refused_with_the_values(run, own, message):
    with pytest.raises(ValueError, match=message):
        run(**own)


@pytest.mark.parametrize("percentile", [0.0, 100.0, -1.0, 101.0])
def test_an_impossible_percentile_is_refused(percentile):
    with pytest.raises(ValueError, match=f"between 0 and 100, got {percentile}"):
        Rarity(percentile=percentile)


def test_a_rarity_is_a_percentile_or_bits():
    assert Rarity(percentile=99.9).target_bits == pytest.approx(log2(1000))
    assert Rarity(bits=7.0).target_bits == 7.0
    for both in ({}, {"bits": 1.0, "percentile": 50.0}):
        with pytest.raises(ValueError, match="either a percentile or bits"):
            Rarity(**both)


@pytest.mark.parametrize("count", range(1, 17))
def test_there_are_more_trials_than_images(count):
    assert count < trials_for(count) <= 64


def test_plain_samples_are_where_the_trials_start(run, model, density, checker):
    started = run(steps=1, seed=5).outputs[0]
    plain = sample_plain(
        model,
        density,
        checker,
        concept="handbag",
        prompt=density.prompt,
        seeds=[4, 5],
        size=None,
        decoder_steps=None,
        guidance_scale=None,
        report=lambda *_: None,
    )
    assert [output.seed for output in plain] == [4, 5]
    assert plain[1].rarity["d2"] == pytest.approx(started.rarity["d2"], rel=1e-3)
