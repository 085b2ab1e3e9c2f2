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


@dataclass(frozen=True, eq=False)
class OpenClipChecker:
    """Zero-shot classification of the concept against nouns it could be confused with, and against nothing at all.

    `nouns.json` beside the weights: `{"nouns": ["handbag", …], "template": "a picture of a {}", "nothing": ["…"]}`.
    """

    model: Any
    preprocess: Any
    tokenizer: Any
    nouns: list[str]
    template: str
    nothing: list[str]
    fingerprint: str

    @classmethod
    def load(cls, folder: str, *, device: str) -> "OpenClipChecker":
        """Load open_clip_config.json, safetensors weights and nouns.json; CheckpointError names the folder."""
        with described(f"the scorer in {folder}"):
            if not any(Path(folder).glob("open_clip*.safetensors")):
                raise ValueError("there are no weights open_clip*.safetensors")
            name = f"local-dir:{folder}"
            model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
            nouns = json.loads((Path(folder) / "nouns.json").read_text())
            return cls(
                model.eval().requires_grad_(False),
                preprocess,
                open_clip.get_tokenizer(name),
                nouns["nouns"],
                nouns["template"],
                nouns["nothing"],
                fingerprint_of(Path(folder)),
            )

    @torch.no_grad()
    def p_valid(self, images: list[Image.Image], concept: str) -> Float[Tensor, "batch"]:
        """P(concept) among the concept, the other nouns and nothing, by the model's own temperature."""
        texts = [self.template.format(concept), *(self.template.format(n) for n in self.rivals(concept)), *self.nothing]
        logits = self.model.logit_scale.exp() * self.embed(images) @ self._embed_texts(texts).T
        probabilities: Tensor = logits.softmax(-1)
        return probabilities[:, 0].double().cpu()

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

    def _embed_texts(self, texts: list[str]) -> Tensor:
        embeds: Tensor = self.model.encode_text(self.tokenizer(texts).to(self.model.logit_scale.device), normalize=True)
        return embeds
