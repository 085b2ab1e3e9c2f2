"""Laws of directions: clusters, likeness, and what somebody has seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, multivariate_t

from services.diffusion.density.subject import Subject
from services.diffusion.steering.belief import PRIOR_VIEWS, Belief
from services.diffusion.steering.clusters import UNSTEERED, Cluster, History, Steering, Weighed, steer
from services.diffusion.steering.objective import FOLLOWED, Figures, Objective, Shell
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)


def embeds_of(density, y):
    """Embeddings whose projections are y."""
    return density.subspace.mean + y @ density.subspace.components


def nothing_strict(y):
    return torch.zeros(len(y), dtype=torch.bool)


def loss_of(density, steering, y):
    """What steering adds to the loss at y."""
    figures = Figures(y, density.mixture.d2(y), torch.ones(len(y)).double(), torch.zeros(len(y)).double())
    steered, plain = (Objective(density, 5.0, s).loss(figures, nothing_strict(y)) for s in (steering, UNSTEERED))
    return steered - plain


@pytest.fixture
def cluster(density):
    """Plain samples that lie on one side."""
    side = density.held_out[density.held_out[:, 0] > density.held_out[:, 0].quantile(0.8)]
    return Cluster.of(density, embeds_of(density, side))


def test_log_prob_of_a_cluster_matches_scipy(density, cluster):
    y = density.held_out[:10]
    expected = multivariate_normal(cluster.mean, np.diag(cluster.variance)).logpdf(y)
    np.testing.assert_allclose(cluster.log_prob(y), expected)


def test_pictures_count_alike_in_all_components_and_words_as_the_density_varies(density):
    embeds, own = embeds_of(density, density.held_out[:3]), density.mixture.moments()[1].diagonal()
    pictures, words = Cluster.of(density, embeds), Cluster.described(density, embeds)
    for cluster, variance in ((pictures, own.mean().expand(len(own))), (words, own)):
        torch.testing.assert_close(cluster.mean, density.held_out[:3].mean(0), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(cluster.variance, variance, rtol=1e-6, atol=0.0)


def test_likeness_is_a_direction_from_what_is_typical(cluster):
    across = torch.linalg.svd((cluster.mean / cluster.variance)[None]).Vh[1]
    found = cluster.likeness(torch.stack([3 * cluster.mean, across, -cluster.mean]))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, -1.0]).double())


def test_avoid_pushes_away_toward_pulls_and_both_stop(density, cluster):
    inside, outside = 3 * cluster.mean[None], -3 * cluster.mean[None]
    avoid, toward = Steering(avoid=(cluster,)), Steering(toward=(cluster,))
    assert loss_of(density, avoid, inside) > 0.5
    assert loss_of(density, avoid, outside) == 0
    assert loss_of(density, toward, inside) == 0
    assert loss_of(density, toward, outside) > 0.5


def test_one_in_twenty_plain_samples_is_away_enough_and_fewer_are_near_enough(density, cluster):
    away, near = (
        (loss_of(density, steering, density.held_out) == 0).double().mean().item()
        for steering in (Steering(avoid=(cluster,)), Steering(toward=(cluster,)))
    )
    assert away == pytest.approx(0.05, abs=0.01)
    assert near < away


def test_nothing_arrives_that_is_rare_but_not_what_was_wished_for(density, cluster):
    y = torch.stack([cluster.mean, -cluster.mean])
    figures = Figures.of(density, embeds_of(density, y), torch.ones(1, 16))
    objective = Objective(density, 5.0, Steering(toward=(cluster,)))
    objective.shell = Shell(0.0, float("inf"), 1.0)
    assert objective.arrived(figures).tolist() == [True, False]


def test_the_belief_before_any_view_is_the_density_with_heavier_tails(density):
    belief = Belief.of(density, torch.zeros(0, 16))
    mean, covariance = density.mixture.moments()
    torch.testing.assert_close(belief.mean, mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        belief.factor @ belief.factor.T,
        covariance * (1 + 1 / PRIOR_VIEWS) * PRIOR_VIEWS / (PRIOR_VIEWS + 2),
        rtol=1e-5,
        atol=1e-6,
    )


def test_the_belief_is_the_posterior_predictive_of_conjugate_analysis(density):
    """Against the textbook's update, without forgetting (half-life ≫ views), through scipy's Student-t density."""
    views = density.held_out[:5]
    belief = Belief.of(density, embeds_of(density, views))
    rank, weight = views.shape[1], 0.5 ** (torch.arange(4, -1, -1).double() / 100)
    mean, covariance = density.mixture.moments()
    n = float(weight.sum())
    average = (weight[:, None] * views).sum(0) / n
    kappa, nu = PRIOR_VIEWS + n, rank + 1 + PRIOR_VIEWS + n
    scatter = torch.einsum("n,ni,nj->ij", weight, views - average, views - average)
    gap = average - mean
    psi = PRIOR_VIEWS * covariance + scatter + PRIOR_VIEWS * n / kappa * torch.outer(gap, gap)
    freedom = nu - rank + 1
    shape = psi * (kappa + 1) / (kappa * freedom)
    expected = multivariate_t((PRIOR_VIEWS * mean + n * average) / kappa, shape, freedom)
    assert belief.freedom == pytest.approx(freedom)
    np.testing.assert_allclose(belief.mean, expected.loc, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(belief.factor @ belief.factor.T, expected.shape, rtol=1e-4, atol=1e-5)


def test_bits_are_the_share_of_the_belief_that_is_as_far(density):
    belief = Belief.of(density, embeds_of(density, density.held_out[:20]))
    draws = multivariate_t(belief.mean.numpy(), (belief.factor @ belief.factor.T).numpy(), belief.freedom).rvs(
        200_000, random_state=0
    )
    far = belief.d2(torch.from_numpy(draws)).sort().values[-2000]
    point = belief.mean + belief.factor[:, 0] * far.sqrt()
    assert belief.bits(point[None])[0] == pytest.approx(-np.log2(0.01), abs=0.1)


def test_what_was_seen_often_is_no_longer_news_and_other_directions_are(density):
    direction = density.held_out[density.d2(embeds_of(density, density.held_out)).argmax()]
    seen = Belief.of(density, embeds_of(density, direction.repeat(30, 1)))
    unseen = Belief.of(density, torch.zeros(0, 16))
    assert seen.bits(direction[None])[0] < 0.5 * unseen.bits(direction[None])[0]
    steering = Steering(belief=seen)
    across = direction.flip(0) - (direction.flip(0) @ direction) / (direction @ direction) * direction
    across = across * (unseen.d2(direction[None]) / unseen.d2(across[None])).sqrt()
    assert loss_of(density, steering, direction[None]) > 4 * loss_of(density, steering, across[None])


def test_the_unseen_asks_for_nothing_before_any_view(density):
    steering = Steering(belief=Belief.of(density, torch.zeros(0, 16)))
    assert loss_of(density, steering, density.held_out).abs().max() < 1e-9


def test_older_views_have_faded(density):
    one, other = density.held_out[:1] * 3, -density.held_out[:1] * 3
    first = Belief.of(density, embeds_of(density, torch.cat([one.repeat(200, 1), other.repeat(200, 1)])))
    assert first.d2(one) > first.d2(other)


def test_wishes_become_clusters_and_likes_are_soft(model, density):
    samples = torch.randn(4, 16)
    history = History(samples, liked=samples[:1], disliked=samples[1:])
    steering = steer(
        model, density, SUBJECT, avoid=["red", samples], toward=["blue"], history=history, report=lambda *_: None
    )
    assert [c.weight for c in steering.avoid] == [1, 1, 1]
    assert [c.weight for c in steering.toward] == [1, 0.25]
    again = steer(model, density, SUBJECT, avoid=[" red"], toward=[], history=None, report=lambda *_: None)
    assert torch.equal(again.avoid[0].mean, steering.avoid[0].mean)
    assert again.belief is None


def test_a_wish_that_pictures_do_not_follow_is_named(density, cluster):
    inside = embeds_of(density, cluster.mean[None])
    outside = embeds_of(density, -2 * cluster.mean[None])
    objective = Objective(density, 5.0, Steering(avoid=(cluster,), toward=(cluster,)))
    assert objective.astray(inside) == ["1 of 1 images do not follow avoid 0 more than plain samples do"]
    assert objective.astray(outside) == ["1 of 1 images do not follow toward 0 more than plain samples do"]


def test_a_wish_of_weight_0_is_as_if_it_were_not_named_and_the_others_keep_their_places(model, density):
    wishes = {"avoid": [Weighed("red", 0.0)], "toward": [Weighed("red", 0.0), Weighed("blue", 1.5)]}
    steering = steer(model, density, SUBJECT, **wishes, history=None, report=lambda *_: None)
    assert steering.avoid == ()
    assert [(c.weight, c.place) for c in steering.toward] == [(1.5, 1)]
    outside = embeds_of(density, -3 * steering.toward[0].mean[None])
    assert Objective(density, 5.0, steering).astray(outside)[0].startswith("1 of 1 images do not follow toward 1 ")


def test_weight_1_is_what_it_was_and_more_of_it_asks_for_more(density, cluster):
    """What counts as followed with a weight does so with every smaller one."""
    y = torch.cat([density.held_out, torch.linspace(-4, 4, 200).double()[:, None] * cluster.mean])
    weights = (0.25, 0.5, 1.0, 1.5, 2.0)
    for name in ("avoid", "toward"):
        steerings = [Steering(**{name: (replace(cluster, weight=weight),)}) for weight in weights]
        losses = torch.stack([loss_of(density, steering, y) for steering in steerings])
        assert (losses.diff(dim=0) >= 0).all()
        followed = (losses <= FOLLOWED).sum(1).tolist()
        assert followed == sorted(followed, reverse=True)
        assert followed[-1] < followed[2] < followed[0]
        torch.testing.assert_close(losses[2], loss_of(density, Steering(**{name: (cluster,)}), y), rtol=0, atol=0)
        torch.testing.assert_close(losses[0], losses[2] / 4)
