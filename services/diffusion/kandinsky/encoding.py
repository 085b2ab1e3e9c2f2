"""A prompt as tokens, and as what the prior is conditioned on."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Tokens:
    """A prompt as the text encoder takes it; `spans` are the characters that each token stands for."""

    ids: Int[Tensor, "1 tokens"]
    mask: Bool[Tensor, "1 tokens"]
    spans: list[tuple[int, int]]

    def trimmed(self) -> "Tokens":
        """Without padding: up to the token whose state is the prompt's embedding."""
        tokens = int(self.mask.sum())
        return Tokens(self.ids[:, :tokens], self.mask[:, :tokens], self.spans[:tokens])


@dataclass(frozen=True)
class Encoding:
    """What the prior is conditioned on."""

    text_embeds: Float[Tensor, "batch dim"]
    hidden_states: Float[Tensor, "batch tokens width"]
    mask: Bool[Tensor, "batch tokens"]

    def expand(self, batch: int) -> "Encoding":
        """One row repeated `batch` times; `batch` rows as they are."""
        return Encoding(
            self.text_embeds.expand(batch, -1), self.hidden_states.expand(batch, -1, -1), self.mask.expand(batch, -1)
        )

    def trimmed(self) -> "Encoding":
        """Without the padding that all rows have at the end."""
        tokens = int(self.mask.any(0).sum())
        return Encoding(self.text_embeds, self.hidden_states[:, :tokens], self.mask[:, :tokens])

    @classmethod
    def cat(cls, parts: list["Encoding"]) -> "Encoding":
        """All rows of the parts, in order."""
        columns = zip(*((part.text_embeds, part.hidden_states, part.mask) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    @classmethod
    def padded(cls, parts: list["Encoding"]) -> "Encoding":
        """All rows of the parts, in order, each with as many tokens as the longest has."""
        tokens = max(part.mask.shape[1] for part in parts)
        return cls.cat([part.up_to(tokens) for part in parts])

    def up_to(self, tokens: int) -> "Encoding":
        """With padding at the end, so that it has so many tokens."""
        more = tokens - self.mask.shape[1]
        return Encoding(self.text_embeds, pad(self.hidden_states, (0, 0, 0, more)), pad(self.mask, (0, more)))
