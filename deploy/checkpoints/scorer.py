"""The judge as open_clip has it: EfficientNet-lite0 (ImageNet, Apache-2.0) and a small text transformer."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.checkpoints.corpus import DEVICE
from deploy.checkpoints.teachers import image_weights

EDGE, DIM, CONTEXT = 128, 128, 32
MODEL = {
    "embed_dim": DIM,
    "vision_cfg": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": EDGE,
    },
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 40, "heads": 2, "layers": 3},
}
PREPROCESS = {
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "size": [EDGE, EDGE],
    "interpolation": "bicubic",
}
KEPT_STAGES = 6  # of the tower's seven: their maps, (192, 4, 4), are what is cached
TEMPLATES = ("a photo of a {}", "{}")
FILES = ("open_clip_config.json", "open_clip_model.safetensors", "nouns.json")  # what the service needs of its folder


def build(folder: Path) -> open_clip.CLIP:
    """The model that open_clip makes of the folder, its image tower with ImageNet's weights."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    model = open_clip.CLIP(**MODEL | {"text_cfg": open_clip.CLIPTextCfg(**MODEL["text_cfg"])})
    trunk = model.visual.trunk  # the same layers in the same order, by other names
    weights = [value for name, value in image_weights().items() if not name.startswith("_fc")]
    trunk.load_state_dict(dict(zip(trunk.state_dict(), weights, strict=True)))
    return model.eval().to(DEVICE)


def early(model: open_clip.CLIP, pixels: Tensor) -> Tensor:
    """What the kept stages see, (batch, 192, 4, 4), of pixels in [−1, 1]."""
    mean, std = (torch.tensor(PREPROCESS[name], device=pixels.device)[:, None, None] for name in ("mean", "std"))
    trunk = model.visual.trunk
    x = trunk.bn1(trunk.conv_stem(((pixels + 1) / 2 - mean) / std))
    return trunk.blocks[:KEPT_STAGES](x)


def late(model: open_clip.CLIP, maps: Tensor) -> Tensor:
    """Unit embeddings (batch, 128) of what the kept stages saw."""
    trunk = model.visual.trunk
    x = trunk.forward_head(trunk.bn2(trunk.conv_head(trunk.blocks[KEPT_STAGES:](maps))))
    return F.normalize(model.visual.head(x), dim=-1)


def learnt_stages(model: open_clip.CLIP) -> nn.ModuleList:
    trunk = model.visual.trunk
    return nn.ModuleList([trunk.blocks[KEPT_STAGES:], trunk.conv_head, trunk.bn2, model.visual.head])


@torch.no_grad()
def embed_maps(model: open_clip.CLIP, maps: np.ndarray, rows: np.ndarray) -> Tensor:
    """Unit embeddings (rows, 128) of cached maps."""
    parts = np.array_split(rows, 1 + len(rows) // 256)
    return torch.cat([late(model, torch.from_numpy(maps[part]).float().to(DEVICE)) for part in parts])


@torch.no_grad()
def embed_texts(model: open_clip.CLIP, texts: list[str]) -> Tensor:
    """Unit embeddings of nouns in the first template."""
    tokens = open_clip.SimpleTokenizer(context_length=CONTEXT)([TEMPLATES[0].format(text) for text in texts])
    return torch.cat([model.encode_text(part.to(DEVICE), normalize=True) for part in tokens.split(512)])
