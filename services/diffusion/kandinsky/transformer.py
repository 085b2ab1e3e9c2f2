"""The prior's transformer, run some places at a time, so that a prompt runs once instead of at every step.

Its attention is causal and the prompt comes before the timestep and the latents, so the prompt's keys and values are
the same at every step: five steps with a prompt of 20 tokens run 36 places instead of 5 × 81.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import PriorTransformer
from diffusers.models.attention import BasicTransformerBlock
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.layout import STEP_TOKENS, Layout
from services.diffusion.kandinsky.lora import Factors

Past = list[Tensor]  # every layer's keys and values, each (rows, 2 · heads, places, width)


class Affine(NamedTuple):
    """x ↦ x W + b."""

    bias: Float[Tensor, "out"]
    weight: Float[Tensor, "in out"]

    @classmethod
    def of(cls, layer: nn.Linear) -> "Affine":
        return cls(layer.bias, layer.weight.T)

    @classmethod
    def beside(cls, layers: list[nn.Linear]) -> "Affine":
        """Layers of one input as one; frozen ones become views of it, so that nothing is kept twice."""
        parameters = [torch.cat(parts) for parts in zip(*((y.bias, y.weight) for y in layers), strict=True)]
        if not parameters[1].requires_grad:
            for layer, bias, weight in zip(layers, *(whole.chunk(len(layers)) for whole in parameters), strict=True):
                layer.bias.data, layer.weight.data = bias, weight
        return cls(parameters[0], parameters[1].T)

    def __call__(self, x: Float[Tensor, "n in"]) -> Float[Tensor, "n out"]:
        return torch.addmm(self.bias, x, self.weight)


class Layer:
    """A block of the prior, whose queries, keys and values are one product."""

    def __init__(self, block: BasicTransformerBlock) -> None:
        attention, (inner, _, outer) = block.attn1, block.ff.net
        self.heads, self.norm1, self.norm2 = attention.heads, block.norm1, block.norm3
        self.qkv = Affine.beside([attention.to_q, attention.to_k, attention.to_v])
        self.out, self.inner, self.outer = (Affine.of(layer) for layer in (attention.to_out[0], inner.proj, outer))

    def __call__(
        self, x: Float[Tensor, "n width"], past: Tensor, mask: Tensor, gate: Tensor, factors: Factors | None
    ) -> tuple[Float[Tensor, "n width"], Tensor]:
        """The block's output, and the keys and values of all places up to here."""
        rows, normed = len(past), self.norm1(x)
        qkv = self.qkv(normed)
        if factors:
            qkv = factors.qkv(qkv, normed, gate)
        heads = qkv.view(rows, -1, 3 * self.heads, past.shape[-1]).transpose(1, 2)
        queries, new = heads.split([self.heads, 2 * self.heads], dim=1)
        past = torch.cat([past, new], dim=2)
        keys, values = past.chunk(2, dim=1)
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(x.shape)
        out = self.out(attended)
        if factors:
            out = factors.out(out, attended, gate)
        x = x + out.view(x.shape)
        return x + self.outer(gelu(self.inner(self.norm2(x)))), past


class Transformer:
    """The prior's layers, and what goes in before them and comes out behind them."""

    def __init__(self, prior: PriorTransformer) -> None:
        self.prior, self.layers = prior, [Layer(block) for block in prior.transformer_blocks]

    def nothing(self, rows: int) -> Past:
        """The past of rows that have none."""
        weight, heads = self.layers[0].out.weight, self.layers[0].heads
        return [weight.new_empty(rows, 2 * heads, 0, len(weight) // heads) for _ in self.layers]

    def run(
        self, x: Float[Tensor, "rows places width"], past: Past, layout: Layout, factors: list[Factors] | None = None
    ) -> tuple[Float[Tensor, "rows places width"], Past]:
        """The places that come after the past through every layer, and the past of what comes after them."""
        mask, gate = layout.part(past[0].shape[2], x.shape[1])
        flat, longer = x.flatten(0, 1), []
        each: Sequence[Factors | None] = factors or [None] * len(past)
        for layer, before, own in zip(self.layers, past, each, strict=True):
            flat, after = layer(flat, before, mask, gate, own)
            longer.append(after)
        return flat.view(x.shape), longer

    def prompt(self, encoding: Encoding) -> Float[Tensor, "rows places width"]:
        """The places of prompts: their tokens, and after them their embedding."""
        prior, tokens = self.prior, encoding.hidden_states.shape[1]
        positions = prior.positional_embedding.to(encoding.text_embeds.dtype)
        x = prior.encoder_hidden_states_proj(encoding.hidden_states) + positions[:, :tokens]
        last = prior.embedding_proj(encoding.text_embeds)[:, None] + positions[:, -STEP_TOKENS - 1 : -STEP_TOKENS]
        return torch.cat([x, last], dim=1)

    def time(self, timesteps: Int[Tensor, "n"]) -> Float[Tensor, "n width"]:
        """The embeddings of timesteps."""
        embeds: Tensor = self.prior.time_embedding(self.prior.time_proj(timesteps).to(self.prior.dtype))
        return embeds

    def step(
        self, latents: Float[Tensor, "rows dim"], time: Float[Tensor, "n width"]
    ) -> Float[Tensor, "rows places width"]:
        """The places of a step, at one time or at one for each row."""
        rows, prior, dtype = len(latents), self.prior, latents.dtype
        read = prior.prd_embedding[0].to(dtype).expand(rows, -1)
        positions: Tensor = prior.positional_embedding[:, -STEP_TOKENS:].to(dtype)
        return torch.stack([time.expand(rows, -1), prior.proj_in(latents), read], dim=1) + positions

    def read(self, x: Float[Tensor, "rows places width"], branches: int) -> Float[Tensor, "predictions dim"]:
        """What is predicted, the unconditional rows first."""
        last = x[:, -STEP_TOKENS * (branches - 1) - 1 :: STEP_TOKENS].transpose(0, 1).flatten(0, 1)
        predicted: Tensor = self.prior.proj_to_clip_embeddings(self.prior.norm_out(last))
        return predicted


class Predictor:
    """Predicts step by step; a prompt that each row has for itself runs along with the first."""

    def __init__(
        self,
        transformer: Transformer,
        layout: Layout,
        past: Past,
        prompt: Float[Tensor, "rows places width"] | None,
        factors: list[Factors] | None = None,
    ) -> None:
        self.transformer, self.layout, self.factors = transformer, layout, factors
        self.past, self.prompt = past, prompt

    def __call__(
        self, latents: Float[Tensor, "rows dim"], time: Float[Tensor, "n width"]
    ) -> Float[Tensor, "predictions dim"]:
        """What `prior.forward` predicts for each branch, to within rounding."""
        branches = self.layout.branches
        x = self.transformer.step(latents, time).repeat(1, branches, 1)
        if self.prompt is not None:
            x = torch.cat([self.prompt, x], dim=1)
        x, longer = self.transformer.run(x, self.past, self.layout, self.factors)
        if self.prompt is not None:
            self.past, self.prompt = [past[:, :, : -branches * STEP_TOKENS] for past in longer], None
        return self.transformer.read(x, branches)
