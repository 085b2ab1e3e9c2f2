"""What is optimised: the embeddings of words, and low-rank factors on the prior, one set for each trial."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import PriorTransformer
from jaxtyping import Float
from torch import Tensor, nn

from services.diffusion.decoder import Generators
from services.diffusion.kandinsky import Encoding, Kandinsky
from services.diffusion.subject import Subject
from services.errors import PromptError

PARTS = ("token", "adjective", "lora")
ADJECTIVE = "creative"
RANK = 10
WORD_STEP = 0.2  # of the words' root mean square: the paper's 1e-4 is for 1,000 steps of full-size CLIP
FACTOR_STEP = 1e-2

Parameters = list[Tensor]


class Space:
    """One or more of `token`, `adjective` and `lora`; a trial's parameters are float32 tensors, one for each part.

    At its start a trial of `token` or `lora` is exactly the prompt that the density was fitted on, and one of
    `adjective` is "a creative …" (arXiv 2601.22125).
    """

    def __init__(self, model: Kandinsky, subject: Subject, names: Sequence[str]) -> None:
        if unknown := set(names) - set(PARTS):
            raise ValueError(f"there is no space {unknown.pop()!r}, only {', '.join(PARTS)}")
        self.model, self.subject = model, subject
        words = Words(model, subject, adjective="adjective" in names, token="token" in names)
        self.words = words if words.places else None
        self.factors = LowRank(model.prior) if "lora" in names else None
        self.positive = model.encode_prompt(subject.text)

    def start(self, seed: int) -> Parameters:
        """A trial's parameters before it has learnt anything."""
        parts: Parameters = []
        if self.words:
            parts.append(torch.zeros_like(self.words.embeddings))
        if self.factors:
            parts.append(self.factors.start(seed))
        return [part.to(self.model.device).requires_grad_() for part in parts]

    @property
    def steps(self) -> list[float]:
        """A learning rate for each of a trial's tensors, which takes short trials to their target."""
        words = [WORD_STEP * self.words.scale] if self.words else []
        return words + ([FACTOR_STEP] if self.factors else [])

    def sample(self, rows: Sequence[Parameters], generators: Generators) -> Float[Tensor, "rows dim"]:
        """An image embedding for each row's parameters, differentiable in them."""
        columns = [torch.stack(column) for column in zip(*rows, strict=True)]
        with self._applied(columns.pop() if self.factors else None):
            encoding = self._encode(columns, len(rows))
            start = self.subject.start
            return self.model.sample_prior(encoding, generators, len(rows), start=start, cached=True)

    def _encode(self, columns: list[Tensor], rows: int) -> Encoding:
        return self.words.encode(columns[0]) if self.words else self.positive.expand(rows)

    def _applied(self, factors: Tensor | None) -> Any:
        return ExitStack() if self.factors is None or factors is None else self.factors.applied(factors)


def before_the_concept(names: Sequence[str]) -> list[str]:
    """What the spaces put there."""
    return [ADJECTIVE] if "adjective" in names else []


class Words:
    """Offsets on the embeddings of all tokens that the concept has in the prompt, or of an adjective before it."""

    def __init__(self, model: Kandinsky, subject: Subject, *, adjective: bool, token: bool) -> None:
        self.model = model
        phrase = f"{ADJECTIVE} {subject.concept}" if adjective else subject.concept
        self.tokens = model.tokenize(subject.described_as(phrase))
        start = subject.prompt.index("{}")
        concept = places_of(self.tokens.spans, start + len(phrase) - len(subject.concept), len(subject.concept))
        if not concept:
            raise PromptError(
                f"the text encoder's {len(self.tokens.spans)} tokens hold no part of the concept {subject.concept!r}"
            )
        before = places_of(self.tokens.spans, start, len(ADJECTIVE)) if adjective else []
        self.places = before + (concept if token else [])
        self.embeddings = self._table(self.tokens.ids[0, self.places]).float()

    @property
    def _table(self) -> nn.Embedding:
        table: nn.Embedding = self.model.text_encoder.get_input_embeddings()
        return table

    @property
    def scale(self) -> float:
        """Root mean square of the words' embedding values."""
        return float(self.embeddings.square().mean().sqrt())

    def encode(self, offsets: Float[Tensor, "rows places width"]) -> Encoding:
        """The prompt with each row's own words, differentiable in their offsets."""
        with spliced(self._table, self.places, self.embeddings + offsets):
            return self.model.encode(self.tokens, len(offsets))


def places_of(spans: list[tuple[int, int]], start: int, length: int) -> list[int]:
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


class LowRank:
    """Factors of rank RANK on every attention's query, key, value and output (LoRA, arXiv 2106.09685).

    The unconditional branch stays the base model's: `applied` changes the last rows of a batch, which are the prompt's.
    """

    def __init__(self, prior: PriorTransformer) -> None:
        attentions = [block.attn1 for block in prior.transformer_blocks]
        self.layers: list[nn.Linear] = [layer for a in attentions for layer in (a.to_q, a.to_k, a.to_v, a.to_out[0])]
        self.shapes = [
            shape for layer in self.layers for shape in ((RANK, layer.in_features), (layer.out_features, RANK))
        ]

    def start(self, seed: int) -> Float[Tensor, "size"]:
        """All factors of a trial in one vector: A random, B zero, so that nothing changes yet."""
        generator = torch.Generator().manual_seed(2**62 + seed)  # a stream of its own, apart from the noise's
        factors = [torch.randn(shape, generator=generator) / shape[1] ** 0.5 for shape in self.shapes]
        factors[1::2] = [torch.zeros_like(b) for b in factors[1::2]]
        return torch.cat([factor.flatten() for factor in factors])

    @contextmanager
    def applied(self, vectors: Float[Tensor, "rows size"]) -> Iterator[None]:
        """Add x Aᵀ Bᵀ to what each layer gives for the last rows, with each row's own factors."""
        parts = vectors.split([a * b for a, b in self.shapes], dim=1)
        factors = [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        with ExitStack() as hooks:
            for layer, a, b in zip(self.layers, factors[::2], factors[1::2], strict=True):
                hooks.callback(layer.register_forward_hook(_adding(a, b)).remove)
            yield


def _adding(a: Float[Tensor, "rows rank in"], b: Float[Tensor, "rows out rank"]) -> Any:
    def add(_module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        update = inputs[0][-len(a) :].to(a.dtype) @ a.mT @ b.mT
        return torch.cat([output[: -len(a)], output[-len(a) :] + update.to(output.dtype)])

    return add
