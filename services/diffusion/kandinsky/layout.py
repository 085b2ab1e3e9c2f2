"""Where the places of a sample lie: guidance's two branches are one sequence, in which a mask keeps them apart.

In order: the unconditional prompt, the prompt, the unconditional step, the step; each as causal as diffusers has it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STEP_TOKENS = 3  # timestep, latents and the one that the prediction is read from


@dataclass(frozen=True)
class Layout:
    """All places of a row in order: what each may look at, 0 or −∞, and whether factors apply to it, 1 or 0."""

    mask: Float[Tensor, "rows 1 places places"]
    gate: Float[Tensor, "places 1"]
    branches: int

    @classmethod
    def of(cls, prompts: Bool[Tensor, "rows tokens"], before: int, dtype: torch.dtype) -> "Layout":
        """For prompts of which these tokens count; without guidance there are no unconditional places before them."""
        steps = STEP_TOKENS * [0] * (before > 0) + STEP_TOKENS * [1]
        branch = torch.tensor([0] * before + [1] * (prompts.shape[1] + 1) + steps, device=prompts.device)
        seen = torch.ones(len(prompts), len(branch), dtype=torch.bool, device=prompts.device)
        seen[:, before : before + prompts.shape[1]] = prompts
        visible = (branch[:, None] == branch).tril() & seen[:, None, None]
        # CUDA's attention copies a mask at every call unless its rows begin at multiples of 8.
        wide = torch.zeros(*visible.shape[:3], -(-len(branch) // 8) * 8, dtype=dtype, device=prompts.device)
        mask = wide[..., : len(branch)].masked_fill_(~visible, -torch.inf)
        return cls(mask, branch[:, None].to(dtype), len(steps) // STEP_TOKENS)

    def repeat(self, times: int) -> "Layout":
        """So many times the same rows."""
        return Layout(self.mask.repeat(times, 1, 1, 1), self.gate, self.branches)

    def part(self, done: int, places: int) -> tuple[Tensor, Tensor]:
        """Mask and gate for the next places after those that are done."""
        upto = done + places
        return self.mask[:, :, done:upto, :upto], self.gate[done:upto]
