"""What is optimised: here, the token embeddings of the concept's own words, one set per trial."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from services.diffusion.kandinsky import Encoding, Kandinsky
from services.errors import PromptError


class TokenSpace:
    """Every trial's own offsets, float32, on the embeddings of all tokens that the concept has in the prompt.

    At offset zero a row is exactly the prompt that the density was fitted on: the ids stay, so the encoder pools where
    it always did, and no token is added to its vocabulary.
    """

    def __init__(self, model: Kandinsky, concept: str, prompt: str, trials: int) -> None:
        self.model = model
        self.tokens = model.tokenize(prompt.replace("{}", concept))
        self.places = concept_places(self.tokens.spans, prompt.index("{}"), len(concept))
        if not self.places:
            raise PromptError(
                f"the text encoder's {len(self.tokens.spans)} tokens hold no part of the concept {concept!r}"
            )
        self.words = self._embedding(self.tokens.ids[0, self.places]).float()
        self.offsets = [torch.zeros_like(self.words, requires_grad=True) for _ in range(trials)]

    @property
    def _embedding(self) -> nn.Embedding:
        embedding: nn.Embedding = self.model.text_encoder.get_input_embeddings()
        return embedding

    @property
    def scale(self) -> float:
        """Root mean square of the words' embedding values."""
        return float(self.words.square().mean().sqrt())

    def encode(self, rows: list[int]) -> Encoding:
        """The prompt with each row's own words, differentiable in their offsets."""
        words = self.words + torch.stack([self.offsets[row] for row in rows])
        with spliced(self._embedding, self.places, words):
            return self.model.encode(self.tokens, len(rows))


def concept_places(spans: list[tuple[int, int]], start: int, length: int) -> list[int]:
    """Positions of the tokens whose characters lie in prompt[start : start + length]."""
    return [i for i, (begin, end) in enumerate(spans) if begin < min(end, start + length) and end > start]


@contextmanager
def spliced(embedding: nn.Embedding, places: list[int], vectors: Float[Tensor, "rows places width"]) -> Iterator[None]:
    """Put the rows' own vectors at `places` in whatever the embedding returns."""

    def splice(_module: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> Tensor:
        output = output.clone()
        output[:, places] = vectors.to(output.dtype)
        return output

    handle = embedding.register_forward_hook(splice)
    try:
        yield
    finally:
        handle.remove()
