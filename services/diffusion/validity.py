"""Is a picture still of the concept? Asked of an open_clip model that the loss does not use."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from services.diffusion.checkpoint import described, fingerprint_of

TEMPLATE = "a photo of a {}"


@dataclass(frozen=True, eq=False)
class OpenClipChecker:
    """Zero-shot classification of the concept against nouns it could be confused with, and against nothing at all.

    nouns.json beside the weights: `{"nouns": ["handbag", …], "nothing": "nothing recognisable"}`.
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
        """P(concept) among the concept, the other nouns and nothing, at the model's own temperature."""
        names = [concept, *self.rivals(concept), self.nothing]
        tokens = self.tokenizer([TEMPLATE.format(name) for name in names]).to(self.model.logit_scale.device)
        texts = self.model.encode_text(tokens, normalize=True)
        logits: Tensor = self.model.logit_scale.exp() * self.embed(images) @ texts.T
        return logits.softmax(-1)[:, 0].double().cpu()

    def rivals(self, concept: str) -> list[str]:
        """The nouns that are no word of the concept itself: "red handbag" does not compete with "handbag"."""
        words = f" {re.sub(r'[^a-z0-9]+', ' ', concept.lower())} "
        return [noun for noun in self.nouns if f" {noun.lower()} " not in words]

    @torch.no_grad()
    def embed(self, images: list[Image.Image]) -> Float[Tensor, "batch width"]:
        """Unit embeddings of pictures."""
        pixels = torch.stack([self.preprocess(image) for image in images])
        embeds: Tensor = self.model.encode_image(pixels.to(self.model.logit_scale.device), normalize=True)
        return embeds
