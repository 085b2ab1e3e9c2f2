"""The prior's transformer with the prompt's part of it computed once instead of at every step.

Its attention is causal and the prompt comes before the timestep and the latents, so the prompt's keys and values are
the same at every step and in every sample: five steps with a prompt of 20 tokens run 36 places instead of 5 × 81.
"""

from dataclasses import dataclass

import torch
from diffusers import PriorTransformer
from diffusers.models.attention import BasicTransformerBlock
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

STEP_TOKENS = 3  # timestep, latents and the one that the prediction is read from


@dataclass(frozen=True)
class Prefix:
    """Every layer's keys and values of some prompts, each (rows, heads, places, width), and which places count."""

    keys: list[Tensor]
    values: list[Tensor]
    mask: Bool[Tensor, "rows places"]

    def rows(self, rows: list[int]) -> "Prefix":
        """These rows, any of them as often as it is named."""
        return Prefix([k[rows] for k in self.keys], [v[rows] for v in self.values], self.mask[rows])


def prefix_of(
    prior: PriorTransformer,
    text_embeds: Float[Tensor, "rows dim"],
    hidden_states: Float[Tensor, "rows tokens width"],
    mask: Bool[Tensor, "rows tokens"],
) -> Prefix:
    """Run the prompts, without the padding that all of them have at the end, through every layer; differentiable."""
    length = int(mask.any(0).sum())
    positions = prior.positional_embedding[:, [*range(length), mask.shape[1]]].to(text_embeds.dtype)
    parts = [prior.encoder_hidden_states_proj(hidden_states[:, :length]), prior.embedding_proj(text_embeds)[:, None]]
    x = torch.cat(parts, dim=1) + positions
    seen = torch.cat([mask[:, :length], mask.new_ones(len(mask), 1)], dim=1)
    causal = mask.new_ones(length + 1, length + 1).tril()
    prefix = Prefix([], [], seen)
    for block in prior.transformer_blocks:
        keys, values = _keys_values(block, x)
        prefix.keys.append(keys)
        prefix.values.append(values)
        x = _advance(block, x, keys, values, seen[:, None, None] & causal)
    return prefix


def predict(
    prior: PriorTransformer, prefix: Prefix, latents: Float[Tensor, "rows dim"], timestep: Tensor
) -> Float[Tensor, "rows dim"]:
    """What `prior.forward` predicts for these prompts, to within rounding; one timestep, or one for each row."""
    rows, dtype = len(latents), latents.dtype
    time = prior.time_embedding(prior.time_proj(timestep.reshape(-1)).to(dtype)).expand(rows, -1)
    x = torch.stack([time, prior.proj_in(latents), prior.prd_embedding[0].to(dtype).expand(rows, -1)], dim=1)
    x = x + prior.positional_embedding[:, -STEP_TOKENS:].to(dtype)
    causal = prefix.mask.new_ones(STEP_TOKENS, STEP_TOKENS).tril().expand(rows, 1, -1, -1)
    mask = torch.cat([prefix.mask[:, None, None].expand(-1, -1, STEP_TOKENS, -1), causal], dim=-1)
    for block, old_keys, old_values in zip(prior.transformer_blocks, prefix.keys, prefix.values, strict=True):
        keys, values = _keys_values(block, x)
        x = _advance(block, x, torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2), mask)
    predicted: Tensor = prior.proj_to_clip_embeddings(prior.norm_out(x[:, -1]))
    return predicted


def _keys_values(block: BasicTransformerBlock, x: Tensor) -> tuple[Tensor, Tensor]:
    normed = block.norm1(x)
    return _heads(block, block.attn1.to_k(normed)), _heads(block, block.attn1.to_v(normed))


def _advance(block: BasicTransformerBlock, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """The block's output at x's places, which attend to the keys that the mask lets them."""
    queries = _heads(block, block.attn1.to_q(block.norm1(x)))
    attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    x = x + block.attn1.to_out[0](attended.transpose(1, 2).flatten(2))
    output: Tensor = x + block.ff(block.norm3(x))
    return output


def _heads(block: BasicTransformerBlock, x: Tensor) -> Tensor:
    heads: Tensor = x.unflatten(-1, (block.attn1.heads, -1)).transpose(1, 2)
    return heads
