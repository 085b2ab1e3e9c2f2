"""What is optimised: the embeddings of words, and low-rank factors on the prior, one set for each trial."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import Generators
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.lora import LowRank
from services.diffusion.kandinsky.model import Kandinsky
from services.errors import PromptError

PARTS = ("token", "adjective", "lora")
ADJECTIVE = "creative"
WORD_STEP = 0.2  # of the words' root mean square: the paper's 1e-4 is for 1,000 steps of full-size CLIP
FACTOR_STEP = 1e-2

Parameters = list[Tensor]  # a trial's, or stacked those of many


class Space:
    """One or more of `token`, `adjective` and `lora`; a trial's parameters are float32 tensors, one for each part.

    At its start a trial of `token` or `lora` is exactly the prompt that the density was fitted on, and one of
    `adjective` is "a creative …" (arXiv 2601.22125).
    """

    def __init__(self, model: Kandinsky, subject: Subject, names: Sequence[str]) -> None:
        if unknown := set(names) - set(PARTS):
            raise ValueError(f"there is no space {unknown.pop()!r}, only {', '.join(PARTS)}")
        self.model, self.subject, self.names = model, subject, list(names)
        words = Words(model, subject, adjective="adjective" in names, token="token" in names)
        self.words = words if len(words.places) else None
        self.low_rank = LowRank(model.prior) if "lora" in names else None
        self.positive = model.encode_prompt(subject.text).trimmed()
        seen = (self.words.tokens if self.words else self.positive).mask
        self.schedule = model.sampler.schedule(subject.start, subject.strength)
        self.tokens, self.layout = seen.shape[1], model.sampler.layout(seen)

    def start(self, seed: int) -> Parameters:
        """A trial's parameters before it has learnt anything."""
        parts: Parameters = []
        if self.words:
            parts.append(torch.zeros_like(self.words.embeddings))
        if self.low_rank:
            parts.append(self.low_rank.start(seed))
        return [part.to(self.model.device) for part in parts]

    @property
    def steps(self) -> list[float]:
        """A learning rate for each of a trial's tensors, which takes short trials to their target, and not past it."""
        words = [WORD_STEP * self.words.scale] if self.words else []
        own = words + ([FACTOR_STEP] if self.low_rank else [])
        return [self.schedule.pace * step for step in own]

    def noise(self, generators: Generators, rows: int) -> Float[Tensor, "steps rows dim"]:
        """What `sample` begins with and adds."""
        return self.model.sampler.noise(generators, rows, self.subject.start, self.schedule)

    @property
    def shape(self) -> tuple[tuple[int, ...], bool]:
        """What spaces have in common that can be sampled together: the timesteps, and whether there are factors."""
        return self.schedule.timesteps, self.low_rank is not None

    def prompts(self, parameters: Parameters) -> Encoding:
        """Of each row, or the one that all have."""
        return self.words.encode(parameters[0]) if self.words else self.positive

    def sample(self, parameters: Parameters, noise: Float[Tensor, "steps rows dim"]) -> Float[Tensor, "rows dim"]:
        """An image embedding for each row of the stacked parameters, differentiable in them."""
        factors = self.low_rank.factors(parameters[-1]) if self.low_rank else None
        return self.model.sampler.sample_at(self.layout, self.prompts(parameters), noise, factors, self.schedule)


def sample_together(
    parts: Sequence[tuple[Space, Parameters, Float[Tensor, "steps _ dim"]]],
) -> Float[Tensor, "rows dim"]:
    """What each space of one shape samples, as one batch; within rounding of what it samples alone."""
    model, low_rank, schedule = parts[0][0].model, parts[0][0].low_rank, parts[0][0].schedule
    rows, tokens = sum(noise.shape[1] for _, _, noise in parts), max(space.tokens for space, _, _ in parts)
    fits = model.graphs.fits(rows, tokens, len(schedule.steps))
    if len(parts) == 1 and not fits:
        space, parameters, noise = parts[0]
        return space.sample(parameters, noise)
    prompts = Encoding.padded([space.prompts(own).expand(noise.shape[1]) for space, own, noise in parts])
    noise = torch.cat([noise for _, _, noise in parts], dim=1)
    vectors = torch.cat([own[-1] for _, own, _ in parts]) if low_rank else None
    if fits:
        return model.graphs(prompts, noise, vectors)
    factors = low_rank.factors(vectors) if low_rank and vectors is not None else None
    return model.sampler.sample_at(model.sampler.layout(prompts.mask), prompts, noise, factors, schedule)


def before_the_concept(names: Sequence[str]) -> list[str]:
    """What the spaces put there."""
    return [ADJECTIVE] if "adjective" in names else []


class Words:
    """Offsets on the embeddings of all tokens that the concept has in the prompt, or of an adjective before it."""

    def __init__(self, model: Kandinsky, subject: Subject, *, adjective: bool, token: bool) -> None:
        self.model = model
        phrase = f"{ADJECTIVE} {subject.concept}" if adjective else subject.concept
        self.tokens = model.tokenize(subject.described_as(phrase)).trimmed()
        start = subject.prompt.index("{}")
        concept = places_of(self.tokens.spans, start + len(phrase) - len(subject.concept), len(subject.concept))
        if not concept:
            raise PromptError(
                f"the text encoder's {len(self.tokens.spans)} tokens hold no part of the concept {subject.concept!r}"
            )
        before = places_of(self.tokens.spans, start, len(ADJECTIVE)) if adjective else []
        places = before + (concept if token else [])
        self.places = torch.tensor(places, device=model.device)
        self.embeddings: Tensor = model.text_encoder.get_input_embeddings()(self.tokens.ids[0, places]).float()

    @property
    def scale(self) -> float:
        """Root mean square of the words' embedding values."""
        return float(self.embeddings.square().mean().sqrt())

    def encode(self, offsets: Float[Tensor, "rows places width"]) -> Encoding:
        """The prompt with each row's own words, differentiable in their offsets."""
        return self.model.encode(self.tokens, self.places, self.embeddings + offsets)


def places_of(spans: list[tuple[int, int]], start: int, length: int) -> list[int]:
    """Positions of the tokens whose characters lie in prompt[start : start + length]."""
    return [i for i, (begin, end) in enumerate(spans) if begin < min(end, start + length) and end > start]
