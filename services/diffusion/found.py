"""What a trial has learnt, as it is kept: it draws the found thing again, in its own sentence or in another."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.runtime.checkpoint import described
from services.diffusion.steering.spaces import Parameters, Space
from services.found import FACTS, FoundFacts, read_facts

STRENGTHS = [i / 20 for i in range(21)]
HALF = 0.5  # of what the sentence changes where nothing was learnt


@dataclass(frozen=True)
class Likeness:
    """How like the found thing a picture is, 1 for the same: cosines of the image embeddings, from the mean of what the
    found thing's sentence gives, and of what the checker makes of both pictures, None where it does not say."""

    embedding: float
    picture: float | None


@dataclass(frozen=True, eq=False)
class Found:
    """A found thing, on the CPU: its `image_embeds`, and what leads the prior there.

    `learnt` are a trial's parameters, kept in half precision; `start` is its subject's, `mean` its density's, and
    `looks` what the checker makes of its picture.
    """

    facts: FoundFacts
    image_embeds: Float[Tensor, "dim"]
    mean: Float[Tensor, "dim"]
    learnt: Parameters
    start: Float[Tensor, "dim"] | None = None
    looks: Float[Tensor, "width"] | None = None

    def save(self) -> bytes:
        """Safetensors; other requests steer by its `image_embeds`, which are in the space of the metadatum `model`."""
        optional = {"start": self.start, "looks": self.looks}
        tensors = {"image_embeds": self.image_embeds, "mean": self.mean} | self._learnt()
        tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
        metadata = {"model": self.facts.model, FACTS: self.facts.model_dump_json()}
        return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)

    @classmethod
    def load(cls, data: bytes, what: str) -> "Found":
        """What `save` wrote; CheckpointError names `what` where it is damaged, or kept nothing of what was learnt."""
        with described(what):
            facts, tensors = read_facts(data), load(data)
            if bad := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
                raise ValueError(f"{bad} has values that are no numbers")
            learnt = [
                tensors[f"learnt.{i}"].float() for i in range(sum(name.startswith("learnt.") for name in tensors))
            ]
            named = {name: tensors.get(name) for name in ("start", "looks")}
            return cls(facts, tensors["image_embeds"], tensors["mean"], learnt, **named)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that pictures of it depend on."""
        drawn = self._learnt() | ({} if self.start is None else {"start": self.start})
        facts = self.facts.model_dump_json(exclude={"checker", "bits", "validity"})
        return hashlib.sha256(save(drawn, {FACTS: facts})).hexdigest()

    def subject(self, prompt: str) -> Subject:
        """What it is of, in a sentence."""
        return Subject(self.facts.concept, prompt, self.start, self.facts.strength)

    @torch.no_grad()
    def sample(self, space: Space, strength: float | None) -> tuple[Float[Tensor, "dim"], Parameters]:
        """The embedding that the prior gives in the space's sentence with `strength` of what was learnt, 0 to 1; and
        what was learnt, as it counted.

        None: as much as leaves the sentence half of its say, and in its own sentence all of it. CheckpointError for
        what was learnt in other shapes than the model's.
        """
        own = Space(space.model, self.subject(self.facts.prompt), self.facts.space)
        strengths = STRENGTHS if strength is None else [strength]
        rows = self._rows(space, strengths)
        noise = space.noise(noise_of([self.facts.seed]), 1).expand(-1, len(strengths), -1)
        image_embeds, row = space.sample(rows, noise), 0
        if strength is None:
            said = image_embeds - own.sample(rows, noise)
            row = int((said @ said[0] >= HALF * said[0] @ said[0]).nonzero().max())
        return image_embeds[row], [part[row] for part in rows]

    def _rows(self, space: Space, strengths: Sequence[float]) -> Parameters:
        pairs = zip(space.start(self.facts.seed), self.learnt, strict=True)
        with described("what was learnt"):
            shifts = [(start, learnt.to(start.device).expand_as(start) - start) for start, learnt in pairs]
        return [torch.stack([start + strength * shift for strength in strengths]) for start, shift in shifts]

    def likeness(self, other: "Found") -> Likeness:
        """Of another picture of it."""
        embedding = cosine(self.image_embeds - self.mean, other.image_embeds - self.mean)
        if self.looks is None or other.looks is None or self.facts.checker != other.facts.checker:
            return Likeness(embedding, None)
        return Likeness(embedding, cosine(self.looks, other.looks))

    def _learnt(self) -> dict[str, Tensor]:
        return {f"learnt.{i}": tensor.half() for i, tensor in enumerate(self.learnt)}


def cosine(one: Float[Tensor, "width"], other: Float[Tensor, "width"]) -> float:
    """Of two vectors, with no rounding beyond 1."""
    return float(cosine_similarity(one.double(), other.double(), dim=0).clamp(-1, 1))
