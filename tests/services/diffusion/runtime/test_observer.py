"""Laws of watching: what is seen is what is there, and looking changes nothing."""

import pytest
import torch
from PIL import Image

from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate
from services.diffusion.optimize import CHECK_EVERY, Optimization
from services.diffusion.paper import Paper
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)


class Watched(list):
    """The snapshots of every call."""

    def __call__(self, step, snapshots):
        self.append((step, snapshots))


def by_seed(seeds, _embeds):
    """Passes even seeds, with a picture for each seed."""
    return [(Image.new("RGB", (4, 4), (seed, 0, 0)), 0.2 if seed % 2 else 0.9) for seed in seeds]


def silent(*_report):
    pass


@pytest.fixture
def optimised(model, density):
    space, objective = Space(model, SUBJECT, ["lora"]), Objective(density, 6.0, UNSTEERED)
    run, watched = Optimization(space, density, objective, seed=0, trials=8, count=8), Watched()
    run.run(2 * CHECK_EVERY, by_seed, silent, observer=watched)
    return run, watched


def test_the_last_sights_are_the_trials_as_the_run_left_them(optimised):
    run, watched = optimised
    snapshots = watched[-1][1]
    assert [snapshot.bits for snapshot in snapshots] == [trial.state.bits for trial in run.trials]
    assert [snapshot.validity for snapshot in snapshots] == [0.2 if trial.seed % 2 else 0.9 for trial in run.trials]
    assert [snapshot.state == "ended" for snapshot in snapshots] == [trial.ended for trial in run.trials]


def test_a_trial_has_no_validity_before_its_check_and_a_picture_right_after_it(optimised):
    _, watched = optimised
    [(_, first), *_] = watched
    assert {(snapshot.validity, snapshot.image) for snapshot in first} == {(None, None)}
    for _, snapshots in watched:
        assert all(
            snapshot.image.getpixel((0, 0)) == (index, 0, 0)
            for index, snapshot in enumerate(snapshots)
            if snapshot.image
        )
    assert sum(snapshot.image is not None for _, snapshots in watched for snapshot in snapshots) >= 8


def test_coordinates_are_deviations_of_plain_samples_on_the_leading_components(optimised, density):
    run, watched = optimised
    trial, snapshot = run.trials[0], watched[-1][1][0]
    y = density.subspace.project(trial.state.image_embeds[None])[0]
    assert [snapshot.x, snapshot.y] == pytest.approx((y[:2] / density.held_out[:, :2].std(0)).tolist())
    torch.testing.assert_close(density.coordinates(density.held_out).std(0), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["calibrated", "paper"])
def test_a_watched_run_gives_the_same_pictures(model, density, checker, mode):
    config, watched = GenerationConfig(target_bits=6.6, seed=0, mode=mode, steps=4), Watched()
    plain = generate(Run(model, density, checker, SUBJECT, config), silent)
    seen = generate(Run(model, density, checker, SUBJECT, config), silent, observer=watched)
    assert [step for step, _ in watched] == [1, 2, 3, 4, 4]
    assert [o.image.tobytes() for o in seen.outputs] == [o.image.tobytes() for o in plain.outputs]
    assert [o.replay for o in seen.outputs] == [o.replay for o in plain.outputs]


def test_the_printed_method_shows_its_one_trial_until_it_ends(model, density):
    answers, watched = iter([0.9, 0.2, 0.7]), Watched()

    def judge(seeds, _embeds):
        validity = next(answers)
        return [(Image.new("RGB", (4, 4)), validity) for _ in seeds]

    space = Space(model, SUBJECT, ["token"])
    Paper(space, density, UNSTEERED, seed=3).run(1, 4 * CHECK_EVERY, judge, silent, observer=watched)
    shown = [(step, snapshot.state, snapshot.validity) for step, [snapshot] in watched if snapshot.image]
    assert shown == [(CHECK_EVERY, "moving", 0.9), (2 * CHECK_EVERY, "ended", 0.2)]
    assert watched[CHECK_EVERY - 1][1][0].validity is None
    assert watched[CHECK_EVERY + 1][1][0].validity == 0.9
