"""Is a picture still of the concept? Asked of a model that the loss does not use, open_clip's or one that can talk."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import open_clip
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from services.diffusion.checkers.reading import Reading, noun_and_attributes
from services.diffusion.checkers.vlm import VisionLanguageChecker
from services.diffusion.runtime.checkpoint import checkpoint_folder, described
from services.diffusion.runtime.fingerprint import Keep, anew, fingerprint_of

TEMPLATE = "a photo of a {}"
NEAREST = 32
BATCH = 256


@runtime_checkable
class Checker(Protocol):
    """Knows pictures of a concept from others."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the answers depend on."""

    def reading(self, concept: str) -> Reading:
        """What of the concept it can tell, before any picture."""

    def p_valid(self, images: list[Image.Image], concept: str) -> Float[Tensor, "batch"]:
        """P(the main subject is what the reading has of the concept) of each picture, float64 on the CPU."""

    def embed(self, images: list[Image.Image]) -> Float[Tensor, "batch width"] | None:
        """Unit embeddings of pictures; None from who has none without a question."""


def validity_of(checker: Checker, images: list[Image.Image], concept: str, reading: Reading) -> list[float | None]:
    """P(valid) of each picture, None where the checker's reading of the concept has no noun."""
    if reading.noun is None:
        return [None] * len(images)
    validity: list[float | None] = checker.p_valid(images, concept).tolist()
    return validity


def load_checker(name: str, *, device: str, dtype: torch.dtype | None, keep: Keep = anew) -> Checker:
    """The checker in a folder, or in the hub's repository of that name, as its configuration says.

    `dtype` is what a vision-language model computes in, None for its own; open_clip, whose logits are cosines times
    100, stays in float32. `keep` has the fingerprint. CheckpointError in one sentence.
    """
    folder = checkpoint_folder(name)
    if (folder / "open_clip_config.json").exists():
        return OpenClipChecker.load(str(folder), device=device, keep=keep)
    return VisionLanguageChecker.load(folder, device=device, dtype=dtype, keep=keep)


def squared(image: Image.Image) -> Image.Image:
    """The picture in the middle of a white square, itself where it is one."""
    edge = max(image.size)
    return ImageOps.pad(image.convert("RGB"), (edge, edge), color="white") if min(image.size) < edge else image


@dataclass(frozen=True, eq=False)
class OpenClipChecker:
    """Zero-shot classification of the concept against nouns it could be confused with, and against nothing at all.

    nouns.json beside the weights: `{"nouns": ["handbag", …], "nothing": "nothing recognisable"}`, what the model tells
    apart, of any length; and where they were measured `families` (`{"chair": ["armchair", …]}`: names that count for
    their family's noun), `attributes` (`{"colour": ["red", …], …}`), the `temperature` of cosines, and `floor`, the
    cosine to a noun from which on another word counts as known; without it none does.
    """

    model: Any
    preprocess: Any
    tokenizer: Any
    nouns: list[str]
    nothing: str
    fingerprint: str
    families: dict[str, list[str]] = field(default_factory=dict)
    attributes: dict[str, list[str]] = field(default_factory=dict)
    temperature: float | None = None
    floor: float | None = None

    @classmethod
    def load(cls, folder: str, *, device: str, keep: Keep = anew) -> "OpenClipChecker":
        """Load open_clip_config.json, open_clip_model.safetensors and nouns.json; CheckpointError names the folder."""
        with described(f"the scorer in {folder}"):
            name, weights = f"local-dir:{folder}", Path(folder, "open_clip_model.safetensors")
            for path in (weights, Path(folder, "nouns.json")):
                if not path.exists():  # open_clip would take a pickle, or random weights
                    raise FileNotFoundError(f"there is no {path.name}")
            model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
            return cls(
                model=model.eval().requires_grad_(False),
                preprocess=preprocess,
                tokenizer=open_clip.get_tokenizer(name),
                fingerprint=fingerprint_of(Path(folder), keep=keep),
                **json.loads(Path(folder, "nouns.json").read_text()),
            )

    def reading(self, concept: str) -> Reading:
        """The longest noun that ends the phrase's head, or a word near to one, and known attributes before it."""
        attributes = [word for words in self.attributes.values() for word in words]
        return noun_and_attributes(concept, self._vocabulary, attributes, self._is_near)

    def _is_near(self, word: str) -> bool:
        if self.floor is None:
            return False
        return (self._noun_embeds @ self.embed_names([word])[0]).max().item() >= self.floor

    @torch.no_grad()
    def p_valid(self, images: list[Image.Image], concept: str) -> Float[Tensor, "batch"]:
        """P(noun) among its own names, its rivals and nothing, times P(attribute) among those of its group.

        ValueError for a concept in which no noun is known.
        """
        reading, embeds = self.reading(concept), self.embed(images)
        if reading.noun is None:
            raise ValueError(f"the judge knows no noun of the concept {concept!r}")
        own = [reading.noun, *self.kinds_of(reading.noun)]
        texts = self.embed_names([*own, *self.rivals(reading.noun), self.nothing])
        p = self._softmax(embeds, texts)[:, : len(own)].sum(1)
        for attribute in reading.attributes:
            group = next(words for words in self.attributes.values() if attribute in words)
            others = [word for word in group if word not in reading.attributes]
            said = self.embed_names([f"{word} {reading.noun}" for word in (attribute, *others)])
            p = p * self._softmax(embeds, said)[:, 0]
        return p.double().cpu()

    def _softmax(self, embeds: Float[Tensor, "batch width"], texts: Float[Tensor, "texts width"]) -> Tensor:
        scale = self.model.logit_scale.exp() if self.temperature is None else 1 / self.temperature
        return (scale * embeds @ texts.T).softmax(-1)

    def kinds_of(self, noun: str) -> list[str]:
        """Nouns that name a kind of it: "office chair" and what its family has beside for "chair"."""
        ending = [other for other in self.nouns if other.endswith(f" {noun}")]
        return [other for other in dict.fromkeys([*self.families.get(noun, []), *ending]) if other != noun]

    def rivals(self, noun: str) -> list[str]:
        """The NEAREST nouns in the text encoder's space that are neither kinds of it nor what it is a kind of."""
        above = [family for family, kinds in self.families.items() if noun in kinds]
        kin = {noun, *self.kinds_of(noun), *above}
        others = [i for i, other in enumerate(self.nouns) if other not in kin and not noun.endswith(f" {other}")]
        nearness = self._noun_embeds[others] @ self.embed_names([noun])[0]
        nearest = nearness.topk(min(NEAREST, len(others))).indices.sort().values
        return [self.nouns[others[i]] for i in nearest.tolist()]

    @cached_property
    def _vocabulary(self) -> set[str]:
        return {noun.casefold() for noun in (*self.nouns, *self.families)}

    @cached_property
    def _noun_embeds(self) -> Float[Tensor, "nouns width"]:
        return self.embed_names(self.nouns)

    @torch.no_grad()
    def embed_names(self, names: list[str]) -> Float[Tensor, "names width"]:
        """Unit embeddings of nouns, in TEMPLATE."""
        tokens = self.tokenizer([TEMPLATE.format(name) for name in names]).to(self.model.logit_scale.device)
        return torch.cat([self.model.encode_text(batch, normalize=True) for batch in tokens.split(BATCH)])

    @torch.no_grad()
    def embed(self, images: list[Image.Image]) -> Float[Tensor, "batch width"]:
        """Unit embeddings of pictures, of all of them: open_clip would cut one that is not square to its middle."""
        pixels = torch.stack([self.preprocess(squared(image)) for image in images])
        embeds: Tensor = self.model.encode_image(pixels.to(self.model.logit_scale.device), normalize=True)
        return embeds
