"""Laws of a ladder: each column is one trial's way up, with a picture of every rung that it passed."""

import json
import threading
from dataclasses import replace
from itertools import groupby, pairwise

import pytest
import torch
from PIL import Image

from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate, replay
from services.diffusion.replay import GenerationConfig, from_json, to_json
from services.diffusion.run import Run
from services.diffusion.runtime.batching import Sharing
from services.diffusion.runtime.savepoint import Savepoint
from services.diffusion.steering.clusters import UNSTEERED, History, steer
from services.diffusion.steering.objective import SHELL_BITS
from services.diffusion.trials import Checked, State, Trial, columns
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)
LADDER = (2.0, 4.0, 6.0)
CLIMB = GenerationConfig(LADDER[-1], seed=0, count=2, steps=40, trials=6, ladder=LADDER, decoder_steps=1)


@pytest.fixture
def climb(model, density, checker, monkeypatch):
    """A run whose pictures pass, as no judge recognises those of the random checkpoint."""
    monkeypatch.setattr("services.diffusion.trials.MIN_VALIDITY", 0.0)

    def climb(config=CLIMB, steering=UNSTEERED, savepoint=None, observer=None, **how):
        how |= {name: value for name, value in {"savepoint": savepoint, "observer": observer}.items() if value}
        return generate(Run(model, density, checker, SUBJECT, config, steering), lambda *_: None, **how)

    return climb


def in_columns(outputs):
    return [list(own) for _, own in groupby(outputs, lambda output: output.rung.column)]


def same(outputs, others):
    return [(o.image.tobytes(), o.rung, o.replay) for o in outputs] == [
        (o.image.tobytes(), o.rung, o.replay) for o in others
    ]


@pytest.mark.parametrize("space", [["lora"], ["token"], ["adjective", "lora"]])
def test_each_column_is_one_trial_that_is_within_half_a_bit_of_every_rung(climb, space):
    made = climb(replace(CLIMB, space=space))
    found = in_columns(made.outputs)
    assert [len({output.seed for output in column}) for column in found] == [1, 1]
    assert found[0][0].seed != found[1][0].seed
    for column in found:
        assert [(output.rung.index, output.rung.bits) for output in column] == list(enumerate(LADDER))
        assert all(0 <= output.rarity["bits"] - output.rung.bits <= SHELL_BITS + 1e-6 for output in column)
        assert len({output.image.tobytes() for output in column}) == len(LADDER)
    assert made.warnings == [f"the model is made for pictures of {s} pixels" for s in ()]


def test_with_wishes_and_a_history_each_rung_replays_bit_for_bit_from_its_own_block(climb, model, density, checker):
    samples = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    seen = History(seen=samples, liked=samples[:1], disliked=samples[1:2])
    wishes = {"avoid": ["red"], "toward": [samples[3:]], "history": seen}
    steering = steer(model, density, SUBJECT, **wishes, report=lambda *_: None)
    outputs = climb(replace(CLIMB, count=1, trials=4), steering).outputs
    assert len(outputs) > 1
    for output in outputs:
        again = replay(model, density, checker, json.loads(json.dumps(output.replay)), lambda *_: None)
        assert same([replace(again, rung=replace(again.rung, column=0))], [output])


def test_a_block_without_a_ladder_is_read_as_one_of_a_single_target():
    config = replace(CLIMB, ladder=(), space=["lora"])
    block = to_json(config, SUBJECT, UNSTEERED)
    del block["ladder"]
    assert from_json(block)[0] == config
    assert from_json(to_json(replace(CLIMB, space=["lora"]), SUBJECT, UNSTEERED))[0].ladder == LADDER


def test_a_climb_that_goes_on_elsewhere_half_way_up_leaves_the_same_pictures(climb):
    far = replace(CLIMB, ladder=(2.0, 4.0, 6.0, 25.0), target_bits=25.0, steps=14)
    kept = []
    whole = climb(far, savepoint=Savepoint(None, kept.append))
    assert len(kept) >= 2
    assert {len(column) for column in in_columns(whole.outputs)} == {3}
    for found in kept:
        assert same(climb(far, savepoint=Savepoint(found)).outputs, whole.outputs)


def test_two_climbs_that_share_a_thread_leave_what_each_leaves_alone(climb):
    configs = [replace(CLIMB, count=1, trials=2), replace(CLIMB, count=1, trials=2, ladder=(), target_bits=5.0, seed=7)]
    sharing = Sharing(wait_s=0.05, merges=True)
    sharing.start()
    made = {}

    def work(index):
        made[index] = climb(configs[index], batching=sharing.batching).outputs

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, config in enumerate(configs):
        for output, alone in zip(made[index], climb(config).outputs, strict=True):
            assert (output.seed, output.rung) == (alone.seed, alone.rung)
            assert output.rarity["bits"] == pytest.approx(alone.rarity["bits"], abs=0.05)


def test_what_is_watched_says_how_many_rungs_each_trial_has_passed(climb):
    seen = []
    climb(observer=lambda _step, snapshots: seen.append([snapshot.climbed for snapshot in snapshots]))
    assert seen[0] == [0] * 6
    assert all(before <= after for a, b in pairwise(seen) for before, after in zip(a, b, strict=True))
    assert seen[-1].count(3) >= 2
    climb(replace(CLIMB, ladder=(), steps=1), observer=lambda _, snapshots: seen.append([s.climbed for s in snapshots]))
    assert seen[-1] == [None] * 6


def test_a_rung_without_a_valid_picture_has_none_and_a_warning(climb, density):
    made = climb(replace(CLIMB, ladder=(2.0, 4.0, 30.0), target_bits=30.0, steps=12))
    assert [output.rung.index for output in made.outputs] == [0, 1, 0, 1]
    assert [warning.rpartition(": ")[2] for warning in made.warnings] == 2 * [
        "no valid picture of it was found at 30 bits"
    ]
    assert made.warnings[0].startswith("column 0 ends at 4.")


def test_a_trial_that_the_judge_never_takes_leaves_its_best_picture_and_the_doubt(run):
    made = run(ladder=LADDER, target_bits=6.0, steps=10, trials=3)
    assert [output.rung.index for output in made.outputs] == [0]
    assert "no valid picture of it was found at 2 bits" in made.warnings[0]
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
    assert [column[0].state.seed for column in found] == [4, 1, 0, 3, 2, 5]
    assert [len(column) for column in found] == [2, 2, 2, 1, 1, 1]


def test_mode_paper_has_no_ladder(run):
    with pytest.raises(ValueError, match=r"the mode paper has no ladder, got \[2.0, 4.0, 6.0\]"):
        run(ladder=LADDER, mode="paper")
