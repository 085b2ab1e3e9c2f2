"""Rarity-guided sampling on Kandinsky's parts; knows no Redis, Celery, FastAPI or settings."""

from importlib.util import find_spec
from pathlib import Path

import torch


def _declare_torchvision_operators() -> torch.library.Library | None:
    """Let a CUDA build of torchvision import beside a CPU build of torch.

    PyPI's torchvision for Linux cannot load its operators then, and fails at import for want of their names, which
    takes open_clip, transformers' CLIP and diffusers' Kandinsky down with it. Nothing here ever calls them.
    """
    spec = find_spec("torchvision")
    if torch.version.cuda is not None or spec is None or spec.origin is None:
        return None
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


_torchvision_operators = _declare_torchvision_operators()  # the names live as long as this object
