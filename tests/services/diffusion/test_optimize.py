"""Laws of the loop, with judges that always say the same."""

import pytest
import torch
from PIL import Image

from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.optimize import CHECK_EVERY, ENOUGH, Optimization
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.losses import ceiling_loss, floor_loss, rarity_loss
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from services.diffusion.trials import Checked, State, Trial, ranked
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)
BITS, LORA = 6.0, ["lora"]


def saying(validity):
    return lambda seeds, _embeds: [(Image.new("RGB", (4, 4)), validity) for _ in seeds]


def silent(_phase, _step, _steps, _bits):
    pass


def optimise(
    model,
    density,
    *,
    seed=0,
    trials=1,
    count=1,
    steps=CHECK_EVERY,
    bits=BITS,
    judge=None,
    report=silent,
    space=("lora",),
):
    objective = Objective(density, bits, UNSTEERED)
    run = Optimization(Space(model, SUBJECT, space), density, objective, seed=seed, trials=trials, count=count)
    return run, run.run(steps, judge or saying(1.0), report)


def plain(model, density, seeds):
    return model.sample_prior(model.encode_prompt(SUBJECT.text), noise_of(seeds), len(seeds), cached=True)


def test_losses_ask_for_nothing_where_nothing_is_wrong():
    x = torch.tensor([1.0, 5.0, 9.0])
    assert rarity_loss(x, 5.0, 2.0).tolist() == [4.0, 0.0, 4.0]
    assert floor_loss(x, 5.0, 2.0).tolist() == [4.0, 0.0, 0.0]
    assert ceiling_loss(x, 5.0, 5.0).tolist() == pytest.approx([0.0, 0.0, 0.64])


@pytest.mark.parametrize("space", [["token"], ["adjective"], ["lora"], ["token", "lora"]])
def test_steered_embeddings_are_rarer_than_the_plain_ones(model, density, space):
    run, trials = optimise(model, density, trials=8, count=8, steps=2 * CHECK_EVERY, space=space)
    start = density.d2(plain(model, density, [trial.seed for trial in run.trials])).tolist()
    assert sum(trial.best.state.d2 > d2 for trial, d2 in zip(trials, start, strict=True)) >= 6


def test_a_trial_does_not_depend_on_its_neighbours(model, density):
    together, _ = optimise(model, density, trials=3, count=3, steps=5, bits=12.0)
    space, objective = together.space, Objective(density, 12.0, UNSTEERED)
    seed = together.trials[1].seed
    alone = Optimization(space, density, objective, seed=seed, trials=1, count=1)
    alone.run(5, saying(1.0), silent)
    assert together.trials[1].state.d2 == pytest.approx(alone.trials[0].state.d2, rel=1e-3)


def test_the_first_step_is_the_plain_sample(model, density):
    run, trials = optimise(model, density, seed=7, steps=1)
    own = plain(model, density, [run.trials[0].seed])[0]
    torch.testing.assert_close(trials[0].best.state.image_embeds, own)


def test_a_report_that_raises_stops_at_that_step(model, density):
    seen = []

    def stop(phase, step, steps, bits):
        seen.append((phase, step, steps))
        if step == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        optimise(model, density, bits=20.0, report=stop)
    assert seen == [("optimize", 1, CHECK_EVERY), ("optimize", 2, CHECK_EVERY), ("optimize", 3, CHECK_EVERY)]


def test_a_second_failure_ends_a_trial(model, density):
    looks = []

    def refusing(seeds, embeds):
        looks.append(seeds)
        return saying(0.1)(seeds, embeds)

    run, _ = optimise(model, density, steps=20 * CHECK_EVERY, judge=refusing)
    assert looks == [[0], [0]]
    assert run.trials[0].ended
    assert not run.trials[0].ready


def test_a_failed_trial_begins_again_where_it_last_passed(model, density):
    run, _ = optimise(model, density, steps=1, bits=20.0)
    (trial,) = run.trials
    (good,) = trial.best.learnt
    trial.parameters[0].add_(1.0)
    run._check([trial], saying(0.1))
    assert torch.equal(trial.parameters[0], good)
    assert trial.strict
    assert run.optimizer.saved() == {}
    run.optimizer.step()
    assert torch.equal(trial.parameters[0], good)


def test_the_last_check_that_passed_wins(model, density):
    answers = iter([0.9, 0.1, 0.2])
    _, trials = optimise(
        model, density, bits=20.0, steps=60, judge=lambda *_: [(Image.new("RGB", (4, 4)), next(answers))]
    )
    assert trials[0].best.validity == 0.9


def test_a_run_stops_once_enough_trials_are_ready(model, density):
    last = []
    run, _ = optimise(
        model, density, trials=16, count=1, steps=1000, bits=8.0, report=lambda _phase, step, *_: last.append(step)
    )
    assert sum(trial.ready for trial in run.trials) >= ENOUGH
    assert last[-1] < 1000
    assert not all(trial.ended for trial in run.trials)


def test_the_less_valid_half_of_what_is_not_ready_is_given_up(model, density):
    def by_seed(seeds, _embeds):
        return [(Image.new("RGB", (4, 4)), 0.5 + seed / 1000) for seed in seeds]

    run, _ = optimise(model, density, trials=8, count=1, steps=CHECK_EVERY, bits=30.0, judge=by_seed)
    kept = [trial.seed for trial in run.trials if not trial.ended]
    going = [trial.seed for trial in run.trials if not trial.ready]
    assert kept == going[len(going) // 2 :]


def trial_at(seed: int, validity: float | None, bits: float, ready: bool) -> Trial:
    state = State(seed, 1, torch.zeros(2), bits, bits, 0.0, 0.5, 0.0, 0.0)
    best = Checked(state, [], Image.new("RGB", (1, 1)), validity)
    return Trial(seed, [], ended=ready, arrived=ready, best=best)


def test_the_most_valid_at_the_target_come_first_then_the_rarest_valid_then_the_most_valid():
    trials = [
        trial_at(0, 0.2, 20.0, False),
        trial_at(1, 0.9, 5.0, False),
        trial_at(2, 0.7, 12.0, True),
        trial_at(3, 0.4, 20.0, False),
        trial_at(4, 0.8, 11.0, True),
        trial_at(5, 0.6, 9.0, False),
    ]
    assert [check.state.seed for check in ranked(trials)] == [4, 2, 5, 1, 3, 0]


def test_where_the_judge_cannot_tell_the_rarest_at_the_target_come_first():
    trials = [trial_at(0, None, 20.0, False), trial_at(1, None, 10.1, True), trial_at(2, None, 10.4, True)]
    assert [check.state.seed for check in ranked(trials)] == [2, 1, 0]


def test_without_validity_no_check_fails_and_the_nearest_to_the_target_go_on(model, density):
    run, _ = optimise(model, density, trials=4, bits=25.0, judge=saying(None))
    gone = [trial for trial in run.trials if trial.ended and not trial.ready]
    going = [trial for trial in run.trials if not trial.ended]
    assert all(trial.best.passed for trial in run.trials)
    assert all(run._promise(left) >= run._promise(given_up) for left in going for given_up in gone)
