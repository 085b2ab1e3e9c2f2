"""Laws of ConceptLab's loss and of its token."""

import pytest
import torch

from deploy.evaluate.conceptlab import PUBLISHED, LearnedToken, Thresholds, conceptlab_loss, draw_template


def cosines(*values):
    return torch.tensor(values, requires_grad=True)


def test_loss_is_zero_and_flat_between_its_thresholds():
    positive, negatives = cosines(0.3), cosines(0.1, 0.19)
    loss = conceptlab_loss(positive[0], negatives, PUBLISHED)
    loss.backward()
    assert loss == 0
    assert positive.grad == 0
    assert (negatives.grad == 0).all()


def test_descent_draws_the_positive_nearer_and_the_nearest_negative_away_hardest():
    positive, negatives = cosines(0.1), cosines(0.5, 0.3, 0.1)
    conceptlab_loss(positive[0], negatives, PUBLISHED).backward()
    assert positive.grad[0] == -1
    assert negatives.grad.tolist() == pytest.approx([0.5 + 0.5 / 3, 0.5 / 3, 0])


def test_loss_is_the_published_one_less_its_constant():
    positive, negatives, limits = torch.tensor(0.22), torch.tensor([0.31, 0.15]), Thresholds(0.28, 0.2)
    clamped = negatives.clamp(min=0.2)
    published = 1 - positive.clamp(max=0.28) + 0.5 * (clamped.mean() + clamped.max())
    constant = 1 - 0.28 + 0.2
    assert conceptlab_loss(positive, negatives, limits) == pytest.approx(float(published) - constant)


def test_token_that_has_learnt_nothing_is_the_parent_word(models):
    template = "A photo of the {}. photorealistic, 4k, HQ"
    learnt = LearnedToken(models.model, "handbag").encode(template)
    word = models.model.encode_prompt(template.replace("{}", "handbag"))
    torch.testing.assert_close(learnt.text_embeds, word.text_embeds)


def test_gradient_reaches_the_token_through_the_prior(models):
    token = LearnedToken(models.model, "handbag")
    generator = torch.Generator().manual_seed(0)
    encoding = token.encode(draw_template(generator))
    models.model.sample_prior(encoding, generator, 1, cached=True).sum().backward()
    assert token.vector.grad.abs().min() > 0
