"""Laws of a ladder: each column is one trial's way up, with a picture of every rung that it passed."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from PIL import Image

from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate, replay
from services.diffusion.replay import GenerationConfig, from_json, to_json
from services.diffusion.run import Run
from services.diffusion.runtime.savepoint import Savepoint
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import SHELL_BITS
from services.diffusion.trials import Checked, State, Trial, columns
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)
LADDER = (2.0, 4.0, 6.0)
CLIMB = GenerationConfig(LADDER[-1], seed=0, count=2, steps=30, trials=4, ladder=LADDER, decoder_steps=1)


@pytest.fixture(scope="module")
def climb(model, density, checker):
    """A run whose pictures pass, as no judge recognises those of the random checkpoint, which needs smaller steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.diffusion.trials.MIN_VALIDITY", 0.0)
        patch.setattr("services.diffusion.steering.spaces.FACTOR_STEP", 1e-3)
        yield lambda *how: generate(Run(model, density, checker, SUBJECT, CLIMB), lambda *_: None, *how)


@pytest.fixture(scope="module")
def whole(climb):
    """What the run gives, what it kept on its way, and how many rungs each trial had passed at each look."""
    kept, seen = [], []
    made = climb(Savepoint(None, kept.append), lambda _step, snapshots: seen.append([s.climbed for s in snapshots]))
    return made, kept, seen


def described(outputs):
    return [(output.image.tobytes(), output.rung, output.replay) for output in outputs]


def test_a_column_is_one_trial_s_way_up_within_half_a_bit_of_each_rung(whole):
    made, _, _ = whole
    for column in range(CLIMB.count):
        own = [output for output in made.outputs if output.rung.column == column]
        assert len({output.seed for output in own}) == 1
        assert [(output.rung.index, output.rung.bits) for output in own] == list(enumerate(LADDER))[: len(own)]
        assert all(0 <= output.rarity["bits"] - output.rung.bits <= SHELL_BITS + 1e-6 for output in own)
    assert max(output.rung.index for output in made.outputs) == 2
    assert len({output.image.tobytes() for output in made.outputs}) == len(made.outputs)


def test_a_rung_without_a_valid_picture_has_none_and_a_warning(whole):
    made, _, _ = whole
    last = [max(o.rung.index for o in made.outputs if o.rung.column == column) for column in range(CLIMB.count)]
    short = [(column, index) for column, index in enumerate(last) if index < 2]
    assert short
    for (column, index), warning in zip(short, made.warnings, strict=False):
        assert warning.startswith(f"column {column} ends at {LADDER[index]:.0f}.")
        assert warning.endswith(f"no valid picture of it was found at {LADDER[index + 1]:g} bits")


def test_what_is_watched_says_how_many_rungs_each_trial_has_passed(whole):
    _, _, seen = whole
    assert seen[0] == [0] * 4
    assert all(one <= later for before, after in pairwise(seen) for one, later in zip(before, after, strict=True))
    assert 3 in seen[-1]


def test_a_climb_that_goes_on_elsewhere_leaves_the_same_pictures(climb, whole):
    made, kept, _ = whole
    again = climb(Savepoint(kept[1]))
    assert described(again.outputs) == described(made.outputs)
    assert again.warnings == made.warnings


def test_each_rung_replays_bit_for_bit_from_its_own_block(climb, whole, model, density, checker):
    made, _, _ = whole
    output = made.outputs[1]
    again = replay(model, density, checker, json.loads(json.dumps(output.replay)), lambda *_: None)
    assert (again.rung.index, again.rarity) == (1, output.rarity)
    assert described([again]) == described([output])


def test_a_block_without_a_ladder_is_read_as_one_of_a_single_target():
    config = replace(CLIMB, ladder=(), space=["lora"])
    block = to_json(config, SUBJECT, UNSTEERED)
    del block["ladder"]
    assert from_json(block)[0] == config
    assert from_json(to_json(replace(CLIMB, space=["lora"]), SUBJECT, UNSTEERED))[0].ladder == LADDER


def test_a_trial_that_the_judge_never_takes_leaves_its_best_picture_and_the_doubt(run, monkeypatch):
    monkeypatch.setattr("services.diffusion.trials.MIN_VALIDITY", 1.1)
    made = run(ladder=LADDER, target_bits=6.0, steps=10, trials=3)
    assert [output.rung.index for output in made.outputs] == [0]
    assert made.warnings[0].startswith("no valid picture was found at 2 bits: the best that there is has ")
    assert made.warnings[1].startswith("1 of 1 images are not clearly of the concept")


def test_the_highest_come_first_and_of_these_whoever_is_surest_all_the_way():
    def trial(seed, *validities, best=0.9):
        checks = [
            Checked(
                State(seed, 1, torch.zeros(2), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), [], Image.new("RGB", (1, 1)), validity
            )
            for validity in (*validities, best)
        ]
        return Trial(seed, [], best=checks[-1], climbed=checks[:-1])

    trials = [trial(0, 0.9, 0.6), trial(1, 0.7, 0.7), trial(2), trial(3, 0.9), trial(4, None, None), trial(5, best=0.1)]
    found = columns(trials)
    assert [column[0].state.seed for column in found] == [4, 1, 0, 3]
    assert [len(column) for column in found] == [2, 2, 2, 1]
    assert [[check.state.seed for check in column] for column in columns([trial(2), trial(5, best=0.1)])] == [[2]]


def test_mode_paper_has_no_ladder(run):
    with pytest.raises(ValueError, match=r"the mode paper has no ladder, got \[2.0, 4.0, 6.0\]"):
        run(ladder=LADDER, mode="paper")
