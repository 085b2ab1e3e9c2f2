"""Rows that are moved at once move as if each had an optimizer to itself."""

import pytest
import torch

from services.diffusion.steering.adamw import WEIGHT_DECAY, AdamW

RATES = [1e-2, 1e-3]


def stacks() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 3, 2, generator=generator), torch.randn(4, 7, generator=generator)]


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(stack.shape, generator=generator) for stack in stacks()]


def alone(row: int, events: list[str]) -> list[torch.Tensor]:
    """What torch makes of one row: at each event it moves, rests without a gradient, or forgets and rests."""
    own = [stack[row].clone().requires_grad_() for stack in stacks()]
    groups = [{"params": [part], "lr": rate} for part, rate in zip(own, RATES, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    for step, event in enumerate(events):
        if event == "forget":
            optimizer.state.clear()
        for part, gradient in zip(own, gradients(step), strict=True):
            part.grad = gradient[row] if event == "move" else None
        optimizer.step()
    return [part.detach() for part in own]


EVENTS = [
    ["move"] * 9,
    ["move"] * 4 + ["rest"] * 2 + ["move"] * 3,
    ["move"] * 5 + ["forget"] + ["move"] * 3,
    ["rest"] * 9,
]


@pytest.fixture
def together() -> tuple[list[torch.Tensor], AdamW]:
    """The rows after EVENTS, and what moved them."""
    own = stacks()
    optimizer = AdamW(own, RATES)
    for step, events in enumerate(zip(*EVENTS, strict=True)):
        optimizer.take([0, 1, 2, 3], tuple(gradients(step)))
        for row, event in enumerate(events):
            if event == "rest":
                optimizer.fresh.discard(row)
            if event == "forget":
                optimizer.rest(row)
        optimizer.step()
    return own, optimizer


@pytest.mark.parametrize("row", range(4))
def test_a_row_moves_rests_and_forgets_as_torchs_optimizer_of_it_alone_bit_for_bit(together, row):
    for mine, theirs in zip(together[0], alone(row, EVENTS[row]), strict=True):
        assert torch.equal(mine[row], theirs)


def test_what_is_saved_goes_on_as_what_saved_it(together):
    own, optimizer = together
    copies = [stack.clone() for stack in own]
    again = AdamW(copies, RATES)
    again.restore(optimizer.saved())
    for each in (optimizer, again):
        each.take([0, 3], tuple(gradient[[0, 3]] for gradient in gradients(50)))
        each.step()
    assert all(torch.equal(one, other) for one, other in zip(own, copies, strict=True))
    assert set(again.saved()) == {"0", "1", "2", "3"}
