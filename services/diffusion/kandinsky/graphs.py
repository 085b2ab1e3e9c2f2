"""Steps of the prior as CUDA graphs: one launch there and one back, where a step as written launches thousands."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.lora import LowRank
from services.diffusion.kandinsky.prior import Sampler

TOKENS = 32  # of a prompt that fits a graph; the default one has 17 and its concept's
LEAST = 8  # rows
AGREEMENT = 0.999  # cosine of what a graph gives to what the step as written gives
logger = logging.getLogger(__name__)

Noise = Float[Tensor, "steps rows dim"]
Vectors = Float[Tensor, "rows size"]


class Graphs:
    """Sampling with gradient in prompts and factors, captured for some numbers of rows."""

    def __init__(self, sampler: Sampler, capture: Callable[..., Any] = torch.cuda.make_graphed_callables) -> None:
        self.sampler, self.low_rank, self._capture = sampler, LowRank(sampler.prior), capture
        self._graphs: dict[int, Callable[..., Tensor]] = {}
        self._seen = torch.ones(1, TOKENS, dtype=torch.bool, device=sampler.prior.device)
        self._layout = sampler.layout(self._seen)

    def capture(self, most: int) -> None:
        """Of 8 rows, and twice as many again and again up to `most`; the largest first, in memory that they share.

        One that cannot be captured, or gives something else, is done without, and said.
        """
        on_cuda = self.sampler.prior.device.type == "cuda"
        pool = {"pool": torch.cuda.graph_pool_handle()} if on_cuda else {}
        for rows in reversed(sizes_up_to(most)):
            try:
                graph = self._capture(self._sampled, self._inputs(rows), **pool)
                if (agreement := self._agreement(graph, rows)) < AGREEMENT:
                    raise RuntimeError(f"its cosine to the step as written is {agreement:.4f}")
                self._graphs[rows] = graph
            except Exception as error:  # a driver's, a library's or the device's: steps as written need none of them
                logger.warning("steps of %d rows run without a CUDA graph: %s", rows, error)
        if on_cuda:
            torch.cuda.empty_cache()  # what the runs before each capture took

    def rows(self, least: int) -> int:
        """The smallest number that there is a graph of, and that holds so many; `least` itself if there is none."""
        return min((rows for rows in self._graphs if rows >= least), default=least)

    def fits(self, rows: int, tokens: int, steps: int) -> bool:
        """Whether there is a graph of so many rows and steps, with room for prompts of so many tokens."""
        return rows in self._graphs and tokens <= TOKENS and steps == len(self.sampler.whole.steps)

    def __call__(self, prompts: Encoding, noise: Noise, vectors: Vectors | None) -> Float[Tensor, "rows dim"]:
        """An image embedding for each row, differentiable in prompts and vectors of factors; None is zero."""
        rows, padded = noise.shape[1], prompts.up_to(TOKENS)
        if vectors is None:
            vectors = self.low_rank.nothing(rows, noise.device)
        mask = self.sampler.layout(padded.mask).mask
        image_embeds = self._graphs[rows](mask, padded.text_embeds, padded.hidden_states, noise, vectors)
        return image_embeds.clone()  # the graph's next call writes to the same place

    def _sampled(
        self, mask: Tensor, text_embeds: Tensor, hidden_states: Tensor, noise: Tensor, vectors: Tensor
    ) -> Tensor:
        """What a graph is of: nothing but its arguments changes between calls."""
        prompts = Encoding(text_embeds, hidden_states, self._seen.expand(len(vectors), -1))
        layout = replace(self._layout, mask=mask)
        return self.sampler.sample_at(layout, prompts, noise, self.low_rank.factors(vectors))

    def _inputs(self, rows: int) -> tuple[Tensor, ...]:
        """Arguments that have learnt something, of which gradients are asked for."""
        empty, generator = self.sampler.unconditional, torch.Generator().manual_seed(0)
        prompts = empty.trimmed().up_to(TOKENS).expand(rows)
        noise = self.sampler.noise(generator, rows)
        vectors = 0.01 * torch.randn(rows, sum(self.low_rank.sizes), generator=generator).to(noise.device)
        learnt = [part.clone().requires_grad_() for part in (prompts.text_embeds, prompts.hidden_states, vectors)]
        return self.sampler.layout(prompts.mask).mask, *learnt[:2], noise, learnt[2]

    def _agreement(self, graph: Callable[..., Tensor], rows: int) -> float:
        """The least cosine of embeddings, and of gradients, to those of the step as written."""
        inputs = self._inputs(rows)
        learnt = [part for part in inputs if part.requires_grad]
        found, expected = (
            (embeds, *torch.autograd.grad(embeds.float().square().sum(), learnt))
            for embeds in (graph(*inputs).clone(), self._sampled(*inputs))
        )
        pairs = zip(found, expected, strict=True)
        return min(float(cosine_similarity(a.double().flatten(), b.double().flatten(), 0)) for a, b in pairs)


def sizes_up_to(most: int) -> list[int]:
    """The numbers of rows that graphs are captured of: few rows take as long as more."""
    return [LEAST << n for n in range((most // LEAST).bit_length())]
