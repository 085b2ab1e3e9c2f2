"""Laws of the loop, with judges that always say the same."""

import pytest
import torch
from PIL import Image

from services.diffusion.losses import anchor_loss, rarity_loss, residual_loss
from services.diffusion.optimize import CHECK_EVERY, Optimization, noise_of
from services.diffusion.spaces import TokenSpace
from services.diffusion.trials import Checked, State, choose

BITS = 6.0


def saying(validity):
    return lambda seeds, _embeds: [(Image.new("RGB", (4, 4)), validity) for _ in seeds]


def silent(_phase, _step, _steps, _bits):
    pass


def optimise(model, density, seeds, *, steps=CHECK_EVERY, judge=None, report=silent):
    space = TokenSpace(model, density.concept, density.prompt, len(seeds))
    run = Optimization(model, density, space, seeds, BITS)
    return run, run.run(steps, judge or saying(1.0), report)


def test_losses_ask_for_nothing_where_nothing_is_wrong():
    x = torch.tensor([1.0, 5.0, 9.0])
    assert rarity_loss(x, 5.0, 2.0).tolist() == [4.0, 0.0, 4.0]
    assert anchor_loss(x, torch.full((3,), 5.0), 2.0).tolist() == [4.0, 0.0, 0.0]
    assert residual_loss(x, 5.0).tolist() == pytest.approx([0.0, 0.0, 0.64])


def test_steered_embeddings_are_rarer_than_the_plain_ones(model, density):
    seeds = list(range(8))
    run, trials = optimise(model, density, seeds, steps=2 * CHECK_EVERY)
    start = density.d2(model.sample_prior(model.encode_prompt(density.text), noise_of(seeds), 8)).tolist()
    assert max(start) < run.target.lowest
    assert sum(trial.best.state.d2 > plain for trial, plain in zip(trials, start, strict=True)) >= 6


def test_a_trial_does_not_depend_on_its_neighbours(model, density):
    _, together = optimise(model, density, [3, 4, 5])
    _, alone = optimise(model, density, [4])
    assert together[1].best.state.step == alone[0].best.state.step
    assert together[1].best.state.d2 == pytest.approx(alone[0].best.state.d2, rel=1e-3)


def test_the_first_step_is_the_plain_sample(model, density):
    _, trials = optimise(model, density, [7], steps=1)
    plain = model.sample_prior(model.encode_prompt(density.text), noise_of([7]), 1, cached=True)
    assert torch.equal(trials[0].best.state.image_embeds, plain[0])


def test_nothing_but_the_tokens_is_learnt(model, density):
    before = {name: value.clone() for name, value in model.text_encoder.state_dict().items()}
    optimise(model, density, [1], steps=5)
    assert all(torch.equal(before[name], value) for name, value in model.text_encoder.state_dict().items())
    assert not any(p.requires_grad for p in [*model.prior.parameters(), *model.text_encoder.parameters()])


def test_a_report_that_raises_stops_at_that_step(model, density):
    seen = []

    def stop(phase, step, steps, bits):
        seen.append((phase, step, steps))
        if step == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        optimise(model, density, [0], report=stop)
    assert seen == [("optimize", 1, CHECK_EVERY), ("optimize", 2, CHECK_EVERY), ("optimize", 3, CHECK_EVERY)]


def test_a_second_failure_ends_a_trial(model, density):
    _, trials = optimise(model, density, [0], steps=4 * CHECK_EVERY, judge=saying(0.1))
    assert [check.state.step for check in trials[0].checks] == [CHECK_EVERY, 2 * CHECK_EVERY]


def test_the_last_check_that_passed_wins(model, density):
    answers = iter([0.9, 0.1, 0.2])
    _, trials = optimise(model, density, [2], steps=3, judge=lambda *_: [(Image.new("RGB", (4, 4)), next(answers))])
    assert trials[0].best.validity == 0.9


def checked(seed: int, place: float, validity: float = 1.0, d2: float = 10.0) -> Checked:
    state = State(seed, 1, torch.tensor([place, 0.0]), d2, d2, 0.0, 0.5)
    return Checked(state, Image.new("RGB", (1, 1)), validity)


def test_the_chosen_start_with_the_most_valid_and_are_far_apart():
    checks = [checked(0, 0.0, 1.0), checked(1, 0.1, 0.9), checked(2, 5.0, 0.9), checked(3, 9.0, 0.9)]
    less_valid = [checked(seed, 10.0 * seed, 0.6) for seed in range(4, 8)]
    assert [check.state.seed for check in choose(less_valid + checks, 10.0, 3)] == [0, 3, 2]


def test_the_less_valid_half_fills_what_the_other_leaves():
    checks = [checked(seed, float(seed), 0.9 - 0.1 * seed) for seed in range(4)]
    assert {check.state.seed for check in choose(checks, 10.0, 3)} == {0, 1, 2}


def test_valid_and_rare_comes_before_valid_and_valid_before_rare():
    checks = [
        checked(0, 0.0, 0.2, 20.0),
        checked(1, 1.0, 0.9, 5.0),
        checked(2, 2.0, 0.9, 12.0),
        checked(3, 3.0, 0.4, 20.0),
    ]
    assert [c.state.seed for c in choose(checks, 10.0, 4)] == [2, 1, 3, 0]
