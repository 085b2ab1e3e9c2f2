"""Laws of one optimisation step at full depth and tiny width: few operators, one graph, nothing read, fixed shapes."""

from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from services.diffusion.density.fit import fit_density
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.lora import Pair
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.optimize import Optimization, Part, losses
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from tests.benchmarks.kandinsky_2_1 import PUBLISHED, TINY, build
from tests.benchmarks.operators import operators

SUBJECT = Subject("handbag", "a photo of a {}.")
EMBEDDED = Path(__file__).parents[3] / "deploy/checkpoints/rarebit-mini"
OUT_OF_REACH = 30.0  # bits
READS = ("aten._local_scalar_dense.default", "aten.equal.default", "aten.is_nonzero.default", "aten.nonzero.default")


@pytest.fixture(scope="module")
def deep() -> Kandinsky:
    """As many layers as Kandinsky 2.1 has."""
    prior = TINY.prior | {"num_layers": PUBLISHED.prior["num_layers"]}
    text = TINY.text_encoder | {"num_hidden_layers": PUBLISHED.text_encoder["num_hidden_layers"]}
    return build(replace(TINY, prior=prior, text_encoder=text), "cpu")


@pytest.fixture(scope="module")
def deep_density(deep: Kandinsky) -> DensityModel:
    return fit_density(deep, SUBJECT, samples=250, seed=0, report=lambda *_: None)


def optimization(model: Kandinsky, density: DensityModel, names: list[str], trials: int) -> Optimization:
    space, objective = Space(model, SUBJECT, names), Objective(density, OUT_OF_REACH, UNSTEERED)
    return Optimization(space, density, objective, seed=0, trials=trials, count=trials)


@pytest.mark.parametrize(("names", "most"), [(["lora"], 9000), (["token"], 7000)])
def test_a_step_is_few_operators_and_no_more_for_more_trials(deep, deep_density, names, most):
    runs = (optimization(deep, deep_density, names, trials) for trials in (20, 64))
    few, many = (len(operators(partial(run.measure, 1))) for run in runs)
    assert few <= most
    assert many <= few


def test_adamw_is_as_many_operators_for_one_trial_as_for_many(deep, deep_density):
    runs = [optimization(deep, deep_density, ["token", "lora"], trials) for trials in (1, 20)]
    for run in runs:
        run.measure(1)
    assert len({len(operators(run.optimizer.step)) for run in runs}) == 1


@pytest.mark.parametrize("names", [["lora"], ["adjective", "token"]])
def test_a_step_reads_nothing_from_the_device_until_its_figures_at_once(model, density, names, monkeypatch):
    run, reads = optimization(model, density, names, 3), []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(tuple(self.shape)) or tolist(self))
    assert not set(READS) & set(operators(partial(run.measure, 1)))
    assert reads == [(6, 3)]


def agrees_as_one_graph(names: list[str]) -> bool:
    model = build(TINY, "cpu")
    density = fit_density(model, SUBJECT, samples=250, seed=0, report=lambda *_: None)
    run = optimization(model, density, names, 2)
    other = optimization(model, density, names, 1)
    parts = [Part.of(run, [0, 1]), Part.of(other, [0])]
    assert not model.graphs.fits(3, 1, 1)  # made before, as a worker has them
    compiled = torch.compile(losses, fullgraph=True, backend="eager")
    return all(torch.equal(ours, theirs) for ours, theirs in zip(compiled(parts), losses(parts), strict=True))


def test_the_losses_are_one_graph_of_the_same_values():
    """In a process of its own: pytest's checks of shapes are no part of a graph."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        assert process.submit(agrees_as_one_graph, ["adjective", "token", "lora"]).result()


def measured(
    model: Kandinsky, density: DensityModel, names: list[str], dtype: torch.dtype
) -> tuple[torch.Tensor, list[torch.Tensor], list[float]]:
    """Embeddings, gradients and bits of six trials that have learnt something, from the same weights and noise."""
    model = replace(model, prior=deepcopy(model.prior).to(dtype), text_encoder=deepcopy(model.text_encoder).to(dtype))
    run = optimization(model, density, names, 6)
    generator, exact = torch.Generator().manual_seed(0), torch.promote_types(dtype, torch.float32)
    if run.space.words:
        run.space.words.embeddings = run.space.words.embeddings.to(exact)
    moves = [0.002 * torch.randn(part.shape, generator=generator) for part in run.parameters]
    own = [(p + move).to(exact).requires_grad_() for p, move in zip(run.parameters, moves, strict=True)]
    noise = torch.randn(run.noise.shape, generator=generator).bfloat16().to(dtype)
    part = replace(Part.of(run, list(range(6))), parameters=own, noise=noise)
    loss, image_embeds, table = losses([part])
    return image_embeds.double(), list(torch.autograd.grad(loss, own)), [density.bits(d2) for d2 in table[0].tolist()]


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("names", [["lora"], ["token"], ["token", "lora"]])
def test_float32_is_float64_but_for_rounding(model, density, names):
    exact, found = (measured(model, density, names, dtype) for dtype in (torch.float64, torch.float32))
    assert error(found[0], exact[0]) < 1e-5
    assert max(error(own, other) for own, other in zip(found[1], exact[1], strict=True)) < 1e-3
    assert found[2] == pytest.approx(exact[2], abs=1e-3)


def test_bfloat16_keeps_directions_and_bits():
    """On weights that have learnt something; rounded in float64 too, so that only the arithmetic differs."""
    embedded = Kandinsky.load(str(EMBEDDED / "prior"), str(EMBEDDED / "decoder"), device="cpu", dtype=torch.bfloat16)
    density = fit_density(embedded, Subject("handbag", "a {}"), samples=500, seed=0, report=lambda *_: None)
    exact, found = (measured(embedded, density, ["lora"], dtype) for dtype in (torch.float64, torch.bfloat16))
    assert cosine_similarity(found[0], exact[0]).min() > 0.999
    assert cosine_similarity(found[1][0].double(), exact[1][0]).min() > 0.998
    assert found[2] == pytest.approx(exact[2], abs=0.1)


def test_what_factors_add_in_bfloat16_and_its_gradient_are_within_a_hundredth():
    generator = torch.Generator().manual_seed(0)
    y, x, a, b, pull = (
        torch.randn(shape, generator=generator).bfloat16()
        for shape in ((24, 64), (24, 32), (4, 32, 10), (4, 10, 64), (4, 6, 64))
    )
    gate = torch.tensor([[0.0]] * 3 + [[1.0]] * 3)

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [part.to(dtype, copy=True).requires_grad_() for part in (y, x, a, b)]
        added = Pair(*inputs[2:])(*inputs[:2], gate.to(dtype))
        return [added.detach(), *torch.autograd.grad((added * pull.to(dtype)).sum(), inputs)]

    for found, expected in zip(gradients(torch.bfloat16), gradients(torch.float64), strict=True):
        assert error(found, expected) < 0.01


def test_queries_keys_and_values_are_one_matrix_that_is_kept_once(deep):
    for block, layer in zip(deep.prior.transformer_blocks, deep.sampler.transformer.layers, strict=True):
        parts = block.attn1.to_q, block.attn1.to_k, block.attn1.to_v
        assert {part.weight.untyped_storage().data_ptr() for part in parts} == {
            layer.qkv.weight.untyped_storage().data_ptr()
        }
        assert torch.equal(torch.cat([part.weight for part in parts]), layer.qkv.weight.T)
