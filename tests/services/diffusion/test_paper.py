"""The printed method: its loss to the letter but for the one sign, fresh noise, and an end at the first no."""

import pytest
import torch
from PIL import Image
from scipy.stats import multivariate_normal

from services.diffusion.density.subject import Subject
from services.diffusion.optimize import CHECK_EVERY
from services.diffusion.paper import Paper, PaperLoss
from services.diffusion.steering.clusters import UNSTEERED, Cluster, Steering
from services.diffusion.steering.objective import Figures
from services.diffusion.steering.spaces import Space
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)


def figures_of(density, y):
    return Figures(y, density.mixture.d2(y), torch.full((len(y),), 0.25).double(), torch.zeros(len(y)).double())


def run(model, density, answers, *, steps=100, count=1, report=lambda *_: None):
    """The answers come from `answers`: one for each check, and one for the pictures that are handed out."""

    def judge(seeds, _embeds):
        validity = next(answers)
        return [(Image.new("RGB", (4, 4)), validity) for _ in seeds]

    space = Space(model, SUBJECT, ["token"])
    return Paper(space, density, UNSTEERED, seed=3).run(count, steps, judge, report)


def test_the_loss_is_the_printed_one(density):
    y = density.held_out[:20]
    mean, covariance = density.mixture.moments()
    expected = torch.from_numpy(multivariate_normal(mean, covariance).logpdf(y)) + (1 - 0.25)
    torch.testing.assert_close(PaperLoss(density, UNSTEERED)(figures_of(density, y)), expected, rtol=1e-5, atol=1e-5)


def test_a_negative_cluster_repels_and_stops_when_far_enough(density):
    """Down the gradient is away from the cluster; as printed it would be toward it."""
    cluster = Cluster.of(density, density.subspace.mean + density.held_out[:30] @ density.subspace.components)
    loss, plain = PaperLoss(density, Steering(avoid=(cluster,))), PaperLoss(density, UNSTEERED)
    near = (cluster.mean + 0.5 * cluster.variance.sqrt())[None].requires_grad_()
    push = torch.autograd.grad((loss(figures_of(density, near)) - plain(figures_of(density, near))).sum(), near)[0]
    assert ((near - 0.1 * push - cluster.mean).norm() > (near - cluster.mean).norm()).item()
    far = (cluster.mean + 20 * cluster.variance.sqrt())[None].requires_grad_()
    push = torch.autograd.grad((loss(figures_of(density, far)) - plain(figures_of(density, far))).sum(), far)[0]
    assert push.abs().max() < 1e-9


def test_the_first_no_ends_the_trial_and_the_check_before_it_wins(model, density):
    seen = []
    passed = run(model, density, iter([0.9, 0.8, 0.2, 0.7]), report=lambda *row: seen.append(row[1]))
    assert passed[0].state.step == 2 * CHECK_EVERY
    assert passed[0].validity == 0.7
    assert seen[-1] == 3 * CHECK_EVERY


def test_every_image_has_its_own_noise(model, density):
    passed = run(model, density, iter([1.0, 1.0]), steps=CHECK_EVERY, count=3)
    assert [check.state.seed for check in passed] == [3, 4, 5]
    assert len({check.state.d2 for check in passed}) == 3


def test_a_trial_that_never_passes_gives_what_it_began_with(model, density):
    assert run(model, density, iter([0.1, 0.1]))[0].state.step == 0


@pytest.mark.parametrize("steps", [1, CHECK_EVERY + 1])
def test_the_last_step_is_looked_at(model, density, steps):
    assert run(model, density, iter([1.0] * 9), steps=steps)[0].state.step == steps
