"""Where to steer, beside rarer: away from clusters of images, toward others, away from what was seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from services.diffusion.density.fit import Report, draw_baseline
from services.diffusion.density.model import DensityModel
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.steering.belief import Belief

TEXT_SAMPLES, TEXT_SEED = 250, 0
LIKED = 0.25  # of a wish: a soft attraction

Named = str | Float[Tensor, "samples dim"]  # words, or images alike


class Weighed(NamedTuple):
    """What is named, and how much it counts, from 0, not at all, to 2; by itself it counts 1."""

    named: Named
    weight: float


Wish = Named | Weighed


@dataclass(frozen=True)
class Cluster:
    """A Gaussian without correlations in a density's components.

    Float32 values in float64, so that a copy through JSON is exact. `place` is the wish's in its list.
    """

    mean: Float[Tensor, "rank"]
    variance: Float[Tensor, "rank"]
    weight: float = 1.0
    place: int = 0

    @classmethod
    def of(cls, density: DensityModel, image_embeds: Float[Tensor, "samples dim"], weight: float = 1.0) -> "Cluster":
        """Around pictures, alike in all components, as looks are.

        One picture stands for the token that it came of: more samples of that hardly differ (32 of them have a mean at
        a cosine of 0.999 from the picture).
        """
        own = density.mixture.moments()[1].diagonal()
        return cls._around(density, image_embeds, own.mean().expand(len(own)), weight)

    @classmethod
    def described(cls, density: DensityModel, image_embeds: Float[Tensor, "samples dim"]) -> "Cluster":
        """Around what words give, as wide as the density: they shift all samples, most clearly where it is narrow."""
        return cls._around(density, image_embeds, density.mixture.moments()[1].diagonal(), 1.0)

    @classmethod
    def _around(cls, density: DensityModel, image_embeds: Tensor, variance: Tensor, weight: float) -> "Cluster":
        mean = density.subspace.project(image_embeds.to(variance.device)).mean(0)
        return cls(mean.float().double(), variance.float().double(), weight)

    def log_prob(self, y: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch"]:
        """log N(y), in nats; differentiable."""
        each: Tensor = torch.distributions.Normal(self.mean, self.variance.sqrt()).log_prob(y)
        return each.sum(-1)

    def likeness(self, y: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch"]:
        """Cosine between what is not typical of a sample and of the cluster, in units of its variances; differentiable.

        Looks follow a picture's direction more closely than the distance to it.
        """
        scale = self.variance.sqrt()
        return cosine_similarity(y / scale, (self.mean / scale)[None])


@dataclass(frozen=True)
class Steering:
    """Clusters to avoid and to come toward, what the user has seen, and what of the wishes could not be taken in."""

    avoid: tuple[Cluster, ...] = ()
    toward: tuple[Cluster, ...] = ()
    belief: Belief | None = None
    warnings: tuple[str, ...] = ()

    def to(self, device: torch.device) -> "Steering":
        """The same steering with its tensors on `device`."""
        avoid, toward = (
            tuple(replace(c, mean=c.mean.to(device), variance=c.variance.to(device)) for c in clusters)
            for clusters in (self.avoid, self.toward)
        )
        belief = self.belief and Belief(self.belief.mean.to(device), self.belief.factor.to(device), self.belief.freedom)
        return Steering(avoid, toward, belief, self.warnings)


UNSTEERED = Steering()


@dataclass(frozen=True)
class History:
    """Image embeddings that a user has seen, the oldest first, and which of them they liked and disliked.

    So many more, `foreign`, are of other models, in whose spaces they mean something else.
    """

    seen: Float[Tensor, "views dim"]
    liked: Float[Tensor, "likes dim"]
    disliked: Float[Tensor, "dislikes dim"]
    foreign: int = 0

    def warnings(self) -> tuple[str, ...]:
        if not self.foreign:
            return ()
        total = len(self.seen) + self.foreign
        return (f"{self.foreign} of {total} views of the concept are of another model, and do not count",)


def steer(
    model: Kandinsky,
    density: DensityModel,
    subject: Subject,
    *,
    avoid: Sequence[Wish],
    toward: Sequence[Wish],
    history: History | None,
    report: Report,
) -> Steering:
    """The wishes as clusters in the density's components; what a user liked and disliked counts among them."""
    away, near = (_clusters(model, density, subject, wishes, report) for wishes in (avoid, toward))
    if history is None:
        return Steering(tuple(away), tuple(near))
    if len(history.disliked):
        away.append(replace(Cluster.of(density, history.disliked), place=len(avoid)))
    if len(history.liked):
        near.append(replace(Cluster.of(density, history.liked, LIKED), place=len(toward)))
    return Steering(tuple(away), tuple(near), Belief.of(density, history.seen), history.warnings())


def require_fitting(model: Kandinsky, subject: Subject, words: Sequence[str]) -> None:
    """PromptError unless the text encoder reads all of the subject, by itself and after each wish."""
    for described in (subject, *(_wished(word, subject) for word in words)):
        model.tokenize(described.text)


def _wished(word: str, subject: Subject) -> Subject:
    """Words stand before the concept: "red" is what the prior gives for red handbags."""
    return Subject(f"{word.strip()} {subject.concept}", subject.prompt, subject.start, subject.strength)


def _clusters(
    model: Kandinsky, density: DensityModel, subject: Subject, wishes: Sequence[Wish], report: Report
) -> list[Cluster]:
    """Of those that count."""
    weighed = [wish if isinstance(wish, Weighed) else Weighed(wish, 1.0) for wish in wishes]
    return [
        replace(_cluster(model, density, subject, named, report), weight=weight, place=place)
        for place, (named, weight) in enumerate(weighed)
        if weight
    ]


def _cluster(model: Kandinsky, density: DensityModel, subject: Subject, named: Named, report: Report) -> Cluster:
    if not isinstance(named, str):
        return Cluster.of(density, named)
    described = _wished(named, subject)
    return Cluster.described(density, draw_baseline(model, described, TEXT_SAMPLES, TEXT_SEED, report))
