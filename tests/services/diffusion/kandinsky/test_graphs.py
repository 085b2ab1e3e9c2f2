"""Laws of captured steps. A CPU has no graphs: here what captures is a stand-in with a graph's own traps, so that every
line but CUDA's runs. `make gpu-check` has the real ones."""

import pytest
import torch

from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.graphs import TOKENS, Graphs, sizes_up_to
from services.diffusion.optimize import Optimization
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)


class Captured:
    """Calls with other shapes than at the capture fail, and every call writes to one place."""

    def __init__(self, sampled, inputs):
        self.sampled, self.shapes, self.calls = sampled, [part.shape for part in inputs], 0
        self.place = torch.empty(inputs[-1].shape[0], inputs[3].shape[-1])

    def __call__(self, *inputs):
        assert [part.shape for part in inputs] == self.shapes
        self.calls += 1
        given = self.sampled(*inputs)
        self.place.copy_(given.detach())
        return InPlace.apply(given, self.place)


class InPlace(torch.autograd.Function):
    """The values of `place` with the gradient of `given`."""

    @staticmethod
    def forward(_context, _given, place):
        return place.view_as(place)

    @staticmethod
    def backward(_context, gradient):
        return gradient, None


@pytest.fixture
def captured(model, monkeypatch):
    """Graphs of 8 and 16 rows in the model, for the time of a test."""
    made = []

    def capture(sampled, inputs):
        made.append(Captured(sampled, inputs))
        return made[-1]

    graphs = Graphs(model.sampler, capture)
    graphs.capture(20)
    monkeypatch.setitem(vars(model), "graphs", graphs)
    return made


def run_of(model, density, names, trials, steps=3):
    space, objective = Space(model, SUBJECT, names), Objective(density, 9.0, UNSTEERED)
    run = Optimization(space, density, objective, seed=0, trials=trials, count=trials)
    for step in range(steps):
        run.measure(step + 1)
        run.optimizer.step()
    return run


@pytest.mark.parametrize("names", [["lora"], ["token"], ["adjective", "lora"]])
def test_a_captured_step_is_the_step_as_written(model, density, names, monkeypatch, captured):
    graphed = run_of(model, density, names, 8)
    assert sum(graph.calls for graph in captured) == 2 + 3  # a look at each, and the steps
    monkeypatch.setitem(vars(model), "graphs", Graphs(model.sampler))
    plain = run_of(model, density, names, 8)
    for one, other in zip(graphed.trials, plain.trials, strict=True):
        assert one.state.d2 == pytest.approx(other.state.d2, rel=1e-3)
        torch.testing.assert_close(one.state.image_embeds, other.state.image_embeds, rtol=1e-3, atol=1e-4)


def test_what_a_step_has_given_stays_when_the_graph_is_called_again(model, density, captured):
    run = run_of(model, density, ["lora"], 8, steps=1)
    before, kept = (
        [trial.state.image_embeds for trial in run.trials],
        [t.state.image_embeds.clone() for t in run.trials],
    )
    run.measure(2)
    assert all(torch.equal(one, other) for one, other in zip(before, kept, strict=True))


def test_other_numbers_of_rows_and_longer_prompts_run_as_written(model, density, captured):
    assert model.graphs.fits(8, TOKENS, 5)
    assert not model.graphs.fits(8, TOKENS + 1, 5)
    assert not model.graphs.fits(8, TOKENS, 3)
    run_of(model, density, ["lora"], 17)
    assert sum(graph.calls for graph in captured) == 2


def test_the_number_of_rows_changes_with_the_logarithm_of_the_trials(model, density, captured):
    """Trials that have arrived or ended leave their places to the last that moves, which is changed by none of them."""
    rows = model.graphs.rows
    assert [rows(moving) for moving in range(1, 19)] == [8] * 8 + [16] * 8 + [17, 18]
    assert [sizes_up_to(most) for most in (7, 8, 20, 64)] == [[], [8], [8, 16], [8, 16, 32, 64]]
    five, eight = (run_of(model, density, ["lora"], trials) for trials in (5, 8))
    assert sum(graph.calls for graph in captured) == 2 + 6
    for one, other in zip(five.trials, eight.trials, strict=False):
        assert one.state.d2 == pytest.approx(other.state.d2, rel=1e-3)


def test_a_graph_that_cannot_be_captured_or_gives_something_else_is_done_without_and_said(model, caplog):
    def fail(_sampled, _inputs):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    def wrong(_sampled, inputs):
        return lambda *parts: parts[-1][:, :16] * torch.arange(16.0) + parts[1].sum() + parts[2].sum()

    for capture, reason in ((fail, "CUDA error"), (wrong, "its cosine to the step as written is")):
        graphs = Graphs(model.sampler, capture)
        graphs.capture(8)
        assert not graphs.fits(8, TOKENS, 5)
        assert f"steps of 8 rows run without a CUDA graph: {reason}" in caplog.text


def test_a_varied_picture_has_fewer_steps_and_no_graph(model, density, captured):
    start = Subject(SUBJECT.concept, SUBJECT.prompt, torch.ones(16))
    space = Space(model, start, ["lora"])
    assert not model.graphs.fits(8, space.tokens, len(space.schedule.steps))
