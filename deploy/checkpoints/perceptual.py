"""A distance of pictures: EfficientNet-lite0's early feature maps, which see edges and texture before they see things.

`python -m deploy.checkpoints.perceptual --out FILE` keeps the layers that it needs, in float16 (1.5 MB).
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deploy.checkpoints.teachers import IMAGENET, image_weights

LAYERS = (0, 2, 4, 10)  # blocks whose output is compared, beside the stem's


class Perceptual(nn.Module):
    """The distance (scalar) of two batches (batch, 3, height, width) in [−1, 1]; not differentiable in the second."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.blocks = nn.ModuleList(network._blocks[: LAYERS[-1] + 1])
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path) -> "Perceptual":
        model = cls()
        model.load_state_dict(load_file(path))
        return model

    def maps(self, pixels: Tensor) -> list[Tensor]:
        mean, std = IMAGENET.to(pixels)
        x = self.stem(((pixels + 1) / 2 - mean) / std)
        maps = [x]
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in LAYERS:
                maps.append(x)
        return [alike(m.float()) for m in maps]

    def forward(self, pixels: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.maps(target)
        return sum((a - b).abs().mean() for a, b in zip(self.maps(pixels), wanted, strict=True)) / len(wanted)


def alike(x: Tensor) -> Tensor:
    """Maps (batch, channels, height, width) whose places are all of about unit strength."""
    return x / (x.square().mean(1, keepdim=True).sqrt() + 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    state, model = image_weights(), Perceptual()
    for name, target in model.state_dict().items():
        target.copy_(state[original(name)])
    save_file({k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}, args.out)


def original(name: str) -> str:
    """What the whole network calls an entry."""
    for ours, theirs in (("stem.0.", "_conv_stem."), ("stem.1.", "_bn0."), ("blocks.", "_blocks.")):
        if name.startswith(ours):
            return name.replace(ours, theirs, 1)
    raise KeyError(f"no layer of EfficientNet-lite0 is called {name}")


if __name__ == "__main__":
    main()
