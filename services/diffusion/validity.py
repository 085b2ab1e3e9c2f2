"""Is a picture still of the concept? Asked of a model that the loss does not use, open_clip's or one that can talk."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import open_clip
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.checkpoint import checkpoint_folder, described, fingerprint_of
from services.diffusion.vlm import VisionLanguageChecker

TEMPLATE = "a photo of a {}"
NEAREST = 32
BATCH = 256


@runtime_checkable
class Checker(Protocol):
    """Knows pictures of a concept from others."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the answers depend on."""

    def p_valid(self, images: list[Image.Image], concept: str) -> Float[Tensor, "batch"]:
        """P(the main subject is the concept) of each picture, float64 on the CPU."""


def load_checker(name: str, *, device: str, dtype: torch.dtype | None) -> Checker:
    """The checker in a folder, or in the hub's repository of that name, as its configuration says.

    `dtype` is what a vision-language model computes in, None for its own; open_clip, whose logits are cosines times
    100, stays in float32. CheckpointError in one sentence.
    """
    folder = checkpoint_folder(name)
    if (folder / "open_clip_config.json").exists():
        return OpenClipChecker.load(str(folder), device=device)
    return VisionLanguageChecker.load(folder, device=device, dtype=dtype)


@dataclass(frozen=True, eq=False)
class OpenClipChecker:
    """Zero-shot classification of the concept against nouns it could be confused with, and against nothing at all.

    nouns.json beside the weights: `{"nouns": ["handbag", …], "nothing": "nothing recognisable"}`, of any length and
    without synonyms, which would share the concept's probability.
    """

    model: Any
    preprocess: Any
    tokenizer: Any
    nouns: list[str]
    nothing: str
    fingerprint: str

    @classmethod
    def load(cls, folder: str, *, device: str) -> "OpenClipChecker":
        """Load open_clip_config.json, open_clip_model.safetensors and nouns.json; CheckpointError names the folder."""
        with described(f"the scorer in {folder}"):
            name, weights = f"local-dir:{folder}", Path(folder, "open_clip_model.safetensors")
            if not weights.exists():  # open_clip would take a pickle, or random weights
                raise FileNotFoundError(f"there is no {weights.name}")
            model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
            words = json.loads(Path(folder, "nouns.json").read_text())
            return cls(
                model=model.eval().requires_grad_(False),
                preprocess=preprocess,
                tokenizer=open_clip.get_tokenizer(name),
                nouns=words["nouns"],
                nothing=words["nothing"],
                fingerprint=fingerprint_of(Path(folder)),
            )

    @torch.no_grad()
    def p_valid(self, images: list[Image.Image], concept: str) -> Float[Tensor, "batch"]:
        """P(concept) among the concept, its rivals and nothing, at the model's own temperature."""
        texts = self.embed_names([concept, *self.rivals(concept), self.nothing])
        logits: Tensor = self.model.logit_scale.exp() * self.embed(images) @ texts.T
        return logits.softmax(-1)[:, 0].double().cpu()

    def rivals(self, concept: str) -> list[str]:
        """The NEAREST nouns in the text encoder's space that are no word of the concept itself: "red handbag" does not
        compete with "handbag"."""
        words = f" {re.sub(r'[^a-z0-9]+', ' ', concept.lower())} "
        others = [i for i, noun in enumerate(self.nouns) if f" {noun.lower()} " not in words]
        nearness = self._noun_embeds[others] @ self.embed_names([concept])[0]
        nearest = nearness.topk(min(NEAREST, len(others))).indices.sort().values
        return [self.nouns[others[i]] for i in nearest.tolist()]

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
        """Unit embeddings of pictures."""
        pixels = torch.stack([self.preprocess(image) for image in images])
        embeds: Tensor = self.model.encode_image(pixels.to(self.model.logit_scale.device), normalize=True)
        return embeds
