"""AdamW for rows of different ages."""

import torch
from jaxtyping import Float
from torch import Tensor

from services.diffusion.runtime.savepoint import Tree

WEIGHT_DECAY = 1e-2
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
STILL = 1.0, 0.0, 0.0, 1.0, 0.0, 1.0  # coefficients that leave all as it is


def coefficients(rate: float, age: int) -> tuple[float, ...]:
    """Of the values, both moments' gradient, the second moment, the step, and the root that the step is divided by."""
    length, root = rate / (1 - BETA1**age), (1 - BETA2**age) ** 0.5
    return 1 - rate * WEIGHT_DECAY, 1 - BETA1, 1 - BETA2, BETA2, length, root


class AdamW:
    """AdamW (arXiv 1711.05101) of stacked tensors (rows, …), each row as if it had an optimizer to itself.

    A row without a fresh gradient stays as it is.
    """

    def __init__(self, stacks: list[Tensor], rates: list[float]) -> None:
        self.stacks, self.rates = stacks, rates
        self.gradients, self.means, self.squares = ([torch.zeros_like(s) for s in stacks] for _ in range(3))
        self.ages = [0] * len(stacks[0])
        self.fresh: set[int] = set()

    def take(self, rows: list[int], gradients: tuple[Tensor, ...]) -> None:
        """Gradients of these rows, for the next step."""
        self.fresh.update(rows)
        for own, gradient in zip(self.gradients, gradients, strict=True):
            own[rows] = gradient

    def hold(self, row: int) -> None:
        """Take no step with the gradient that the row has."""
        self.fresh.discard(row)

    def rest(self, row: int) -> None:
        """Forget the row's gradient and moments, by which it would go on."""
        self.fresh.discard(row)
        self.ages[row] = 0
        for tensor in (*self.means, *self.squares):
            tensor[row] = 0

    @torch.no_grad()
    def step(self) -> None:
        """Move the rows that have a fresh gradient, all at once."""
        for row in self.fresh:
            self.ages[row] += 1
        for stack, rate, gradient, mean, square in zip(
            self.stacks, self.rates, self.gradients, self.means, self.squares, strict=True
        ):
            kept, first, second, decay, length, root = self._coefficients(stack, rate)
            mean.lerp_(gradient, first)
            square.mul_(decay).addcmul_(second * gradient, gradient)
            stack.mul_(kept).sub_(length * mean / square.sqrt().div_(root).add_(EPSILON))
        self.fresh.clear()

    def _coefficients(self, stack: Tensor, rate: float) -> Float[Tensor, "kinds rows ..."]:
        """What each row makes of its values, gradient, moments and step."""
        rows = [coefficients(rate, age) if row in self.fresh else STILL for row, age in enumerate(self.ages)]
        return torch.tensor(rows, device=stack.device).T.view(len(STILL), -1, *[1] * (stack.dim() - 1))

    def saved(self) -> Tree:
        """What it remembers of each row."""
        return {
            str(row): {"age": age, "moments": [tensor[row] for tensor in (*self.means, *self.squares)]}
            for row, age in enumerate(self.ages)
            if age
        }

    def restore(self, saved: Tree) -> None:
        """Remember what was saved."""
        for row, own in saved.items():
            self.ages[int(row)] = own["age"]
            for tensor, value in zip((*self.means, *self.squares), own["moments"], strict=True):
                tensor[int(row)] = value
