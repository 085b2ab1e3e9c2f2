"""A classifier of transformers' that calls dark pictures unsafe: a real refusal without a picture to be ashamed of."""

from pathlib import Path

import torch

import services.diffusion  # noqa: F401  mends torchvision before transformers needs it

from transformers import RegNetConfig, RegNetForImageClassification, ViTImageProcessor  # isort: skip


def save_dark_classifier(folder: Path, brightness: float, labels: tuple[str, ...] = ("normal", "nsfw")) -> Path:
    """Save one that is unsure of a picture of this mean brightness, 0 to 1, and certain soon below and above it.

    The second label is of the dark; the others share what is left.
    """
    config = RegNetConfig(
        embedding_size=8,
        hidden_sizes=[8],
        depths=[1],
        groups_width=8,
        layer_type="x",
        downsample_in_first_stage=False,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    model = RegNetForImageClassification(config)
    with torch.no_grad():
        for parameter in model.regnet.parameters():
            if parameter.ndim > 1:
                parameter.zero_()  # each residual block passes on what it gets
        model.regnet.embedder.embedder.convolution.weight[0, :, 1, 1] = 1 / 3
        head = model.classifier[-1]
        head.weight.zero_()
        head.bias.zero_()
        head.weight[1, 0], head.bias[1] = -1000, 1000 * brightness
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    ViTImageProcessor(size=size, image_mean=[0.0] * 3, image_std=[1.0] * 3).save_pretrained(folder)
    return folder
