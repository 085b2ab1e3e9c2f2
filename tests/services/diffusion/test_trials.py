"""Laws of what is handed out: the most valid trials, or the most different of the valid ones."""

import pytest
import torch
from PIL import Image

from services.diffusion.trials import Checked, State, Trial, ranked

IMAGE = Image.new("RGB", (1, 1))


def trial(validity, at, *, ready=True):
    """One whose embedding is the unit vector at so many degrees."""
    embeds = torch.tensor([torch.pi * at / 180]).double()
    state = State(0, 1, torch.cat([embeds.cos(), embeds.sin()]), 1.0, 1.0, 0.0, 0.5, 0.0, 0.0)
    return Trial(0, [], arrived=ready, ended=ready, best=Checked(state, [], IMAGE, validity))


def validities(trials, variety):
    return [check.validity for check in ranked(trials, variety)]


def test_variety_goes_from_the_most_valid_to_the_most_different_of_the_valid():
    """0.9, 0.89 and 0.8 look alike, 0.7 is across and 0.6 opposite; what is not valid, or not there, stays last."""
    trials = [trial(0.8, 20), trial(0.9, 0), trial(0.4, 90), trial(0.89, 10), trial(0.6, 180), trial(0.7, 90)]
    trials.append(trial(0.95, 270, ready=False))
    assert validities(trials, 0.0) == [0.9, 0.89, 0.8, 0.7, 0.6, 0.4, 0.95]
    assert validities(trials, 0.01) == validities(trials, 0.0)
    assert validities(trials, 1.0)[:3] == [0.9, 0.7, 0.6]
    for variety in (0.25, 0.5, 1.0):
        found = validities(trials, variety)
        assert found[:2] == [0.9, 0.7]
        assert (sorted(found[:5]), found[5:]) == ([0.6, 0.7, 0.8, 0.89, 0.9], [0.4, 0.95])


@pytest.mark.parametrize("variety", [0.0, 1.0])
def test_variety_of_none_or_of_one_ready_trial_is_none(variety):
    assert ranked([], variety) == []
    assert validities([trial(0.4, 0), trial(0.9, 5)], variety) == [0.9, 0.4]


def test_variety_where_the_judge_cannot_tell_is_difference_alone():
    trials = [trial(None, at) for at in (0, 5, 180)]
    far = ranked(trials, 0.3)[1].state.image_embeds
    assert far[0] == pytest.approx(-1)
