"""Laws of savepoints: a run that goes on elsewhere ends as if it had never stopped."""

from functools import partial

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from services.diffusion import optimize, paper
from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate, threads
from services.diffusion.optimize import Optimization
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.runtime.savepoint import Savepoint, pack, unpack
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)
CHECK_EVERY = 6
LONG = GenerationConfig(target_bits=25.0, seed=3, count=2, trials=4, steps=3 * CHECK_EVERY + 5)


def run_from(model, density, checker, config, found=None):
    """The run's outputs, all that it kept and the optimisation steps that it reported."""
    kept, steps = [], []

    def report(phase, step, _steps, _bits):
        if phase == "optimize" and step not in steps:
            steps.append(step)

    savepoint = Savepoint(found, kept.append)
    return generate(Run(model, density, checker, SUBJECT, config), report, savepoint).outputs, kept, steps


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Checks, and savepoints after them, come sooner than every 25 steps."""
    for module in (optimize, paper):
        monkeypatch.setattr(module, "CHECK_EVERY", CHECK_EVERY)


@pytest.fixture
def lenient(monkeypatch):
    """The random checkpoint's pictures pass, or all trials would end at their second check."""
    monkeypatch.setattr("services.diffusion.trials.MIN_VALIDITY", 0.0)


def picky(seeds, image_embeds):
    """Passes some states and not others."""
    return [(Image.new("RGB", (2, 3), "red"), float(embeds.abs().sum() * 997 % 1)) for embeds in image_embeds]


def test_a_tree_comes_back_as_it_was():
    tree = {"a": torch.arange(6.0).view(2, 3).mT, "b": [1.1, None, {"c": torch.tensor([True]), "d": "é"}], "e": {}}
    again = unpack(pack(tree))
    assert torch.equal(again["a"], tree["a"])
    assert torch.equal(again["b"][2].pop("c"), tree["b"][2].pop("c"))
    assert (again["b"], again["e"]) == (tree["b"], {})


@pytest.mark.parametrize("space", [["lora"], ["token", "lora"]])
def test_a_run_ends_the_same_from_each_of_its_savepoints(model, density, checker, space, lenient):
    config = GenerationConfig(**vars(LONG) | {"space": space})
    whole, kept, _ = run_from(model, density, checker, config)
    assert len(kept) == 3
    for number, found in enumerate(kept, start=1):
        outputs, later, steps = run_from(model, density, checker, config, found)
        assert steps == list(range(number * CHECK_EVERY + 1, config.steps + 1))
        assert later == kept[number:]
        assert [(o.image.tobytes(), o.replay) for o in outputs] == [(o.image.tobytes(), o.replay) for o in whole]


@pytest.mark.parametrize("space", [["lora"], ["adjective"]])
def test_passes_and_failures_are_remembered(model, density, space):
    space, objective = Space(model, SUBJECT, space), Objective(density, 8.0, UNSTEERED)
    begin = partial(Optimization, space, density, objective, seed=0, trials=8, count=8)
    kept = []
    whole = begin().run(4 * CHECK_EVERY, picky, lambda *_: None, Savepoint(None, kept.append))
    outcomes = {(trial.ended, trial.strict, trial.best.passed) for trial in whole}
    assert len(outcomes) > 2
    again = begin().run(4 * CHECK_EVERY, picky, lambda *_: None, Savepoint(kept[0]))
    for one, other in zip(whole, again, strict=True):
        assert (one.ended, one.strict, one.validity) == (other.ended, other.strict, other.validity)
        assert torch.equal(one.best.state.image_embeds, other.best.state.image_embeds)
        assert one.best.image.tobytes() == other.best.image.tobytes()
        assert all(torch.equal(a, b) for a, b in zip(one.best.learnt, other.best.learnt, strict=True))


def test_the_printed_method_goes_on_with_its_noise_and_moments(model, density, checker, lenient):
    config = GenerationConfig(
        target_bits=25.0, seed=3, count=2, mode="paper", space=["token", "lora"], steps=2 * CHECK_EVERY
    )
    whole, kept, _ = run_from(model, density, checker, config)
    outputs, _, steps = run_from(model, density, checker, config, kept[0])
    assert steps[0] == CHECK_EVERY + 1
    assert [o.image.tobytes() for o in outputs] == [o.image.tobytes() for o in whole]
    assert [o.rarity for o in outputs] == [o.rarity for o in whole]


def test_a_savepoint_of_another_run_is_left_alone(model, density, checker, lenient):
    config = GenerationConfig(**vars(LONG) | {"steps": CHECK_EVERY + 1})
    _, kept, _ = run_from(model, density, checker, config)
    assert run_from(model, density, checker, config, kept[0])[2] == [CHECK_EVERY + 1]
    assert run_from(model, density, checker, GenerationConfig(**vars(config) | {"seed": 4}), kept[0])[2][0] == 1
    with threads(torch.get_num_threads() + 1):
        assert run_from(model, density, checker, config, kept[0])[2][0] == 1


def test_a_savepoint_of_another_format_is_left_alone():
    run = {"seed": 3}
    here, kept = Savepoint(None).of(run), []
    Savepoint(None, kept.append, here.run).save({"step": 4})
    assert Savepoint(kept[0]).of(run).load() == {"step": 4}
    assert Savepoint(pack({"run": run, "state": {"step": 4}})).of(run).load() is None


KEPT = pack({"run": {"format": 2, "seed": 3}, "state": {"step": torch.arange(100)}})


@pytest.mark.parametrize(
    "found",
    [
        KEPT[:-1],
        KEPT[:40],
        b"\x89PNG\r\n\x1a\n" + KEPT[8:],
        KEPT.replace(b'{"run"', b'\xff"run"'),
        pack({"step": 3}),
        save({"weight": torch.ones(3)}),
    ],
    ids=["cut", "cut in its header", "a picture", "no JSON", "of no run", "weights"],
)
def test_a_damaged_savepoint_has_the_run_begin_anew_and_is_told_of(found, caplog):
    assert Savepoint(KEPT).of({"seed": 3}).load().keys() == {"step"}
    assert caplog.text == ""
    assert Savepoint(found).of({"seed": 3}).load() is None
    assert "the run begins anew: cannot load the savepoint" in caplog.text
