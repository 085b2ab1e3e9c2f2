"""The training pictures: what `pictures_2d.py` and `pictures_3d.py` wrote, as tensors, families and captions."""

import colorsys
import itertools
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deploy.checkpoints import archive

SHARDS = ("2d", "3d")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TEMPLATES = (
    "Professional high-quality photo of a {}. photorealistic, 4k, HQ.",
    "a photo of a {}",
    "a picture of a {}",
    "{}",
)
# What the decoder draws: the family's noun → what else is one. A picture belongs to the first family whose word ends
# its name; drawings in lines only ("icon", "silhouette") belong to none.
FAMILIES = {
    "handbag": "purse bag briefcase satchel tote pouch basket",
    "backpack": "suitcase luggage rucksack",
    "sofa": "couch divan settee ottoman",
    "chair": "armchair stool seat bench throne rocker",
    "lamp": "lantern light bulb lightbulb flashlight chandelier spotlight lights candle",
    "table": "desk workbench",
    "bed": "crib cot cradle",
    "cabinet": "drawer drawers shelf bookshelf bookcase dresser wardrobe cupboard sideboard chest",
    "teapot": "kettle coffeepot pitcher jug",
    "vase": "amphora urn pot jar bottle",
    "clock": "watch stopwatch smartwatch timer",
    "cup": "mug glass teacup goblet tumbler milk tea cocktail wine",
    "car": "taxi automobile jeep van bus truck ambulance minibus trolleybus suv engine",
    "bicycle": "bike scooter motorcycle motorbike moped",
    "hat": "cap helmet sombrero beanie fedora crown",
    "shoe": "shoes sneaker sneakers boot boots heel heels sandal sandals slipper slippers",
    "house": "home hut castle cottage tent cabin building hotel school church store hospital bank",
    "phone": "telephone smartphone cellphone",
    "camera": "camcorder",
    "guitar": "violin cello banjo lute",
    "umbrella": "parasol",
    "tree": "palm cactus plant bonsai",
}


@dataclass(frozen=True)
class Pictures:
    """Pictures on white (n, size, size, 3) uint8 with one record each: name, keywords, source, style."""

    rgb: np.ndarray
    records: list[dict]

    @classmethod
    def load(cls, folder: Path, size: int, *, families_only: bool = False) -> "Pictures":
        """What the archives hold, or its families, scaled to `size` pixels; kept beside them for the next time."""
        records = records_of(folder)
        wanted = [not families_only or family_of(r) is not None for r in records]
        cache = folder / f"{'families' if families_only else 'pictures'}-{size}.npy"
        if not cache.exists():
            keep(cache, archive.read([folder / f"{s}.zip" for s in SHARDS], size, wanted), sum(wanted), size)
        return cls(np.load(cache, mmap_mode="c"), list(itertools.compress(records, wanted)))

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def held_out(self) -> list[int]:
        """Every 20th object (all views of a 3-D model fall on the same side)."""
        return [i for i, r in enumerate(self.records) if split_of(r) == 0]

    @cached_property
    def train(self) -> list[int]:
        held_out = set(self.held_out)
        return [i for i in range(len(self)) if i not in held_out]

    @cached_property
    def families(self) -> list[str | None]:
        return [family_of(r) for r in self.records]

    def pixels(self, index: list[int]) -> Tensor:
        """Pictures, (batch, 3, size, size) in [−1, 1]."""
        return torch.from_numpy(self.rgb[index]).permute(0, 3, 1, 2).float() / 127.5 - 1


def records_of(folder: Path) -> list[dict]:
    """What is said of each picture, in the archives' order."""
    return [json.loads(line) for s in SHARDS for line in (folder / f"{s}.jsonl").read_text().splitlines()]


def keep(path: Path, images: Iterable[np.ndarray], count: int, size: int) -> None:
    """Write the pictures as one array, which appears whole or not at all."""
    part = path.with_suffix(".part")
    array = np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3))
    for row, image in zip(array, images, strict=True):
        row[:] = image
    part.replace(path)


def split_of(record: dict) -> int:
    return zlib.crc32(f"{record.get('model') or record['name']}".encode()) % 20


def picture_weights(pictures: Pictures, index: np.ndarray, families_share: float) -> np.ndarray:
    """Sampling weight of each variant: families alike, in each family drawings and renders alike, the rest alike."""
    keys = [f and (f, "model" in pictures.records[i]) for i, f in ((i, pictures.families[i]) for i in index)]
    counts = {k: keys.count(k) for k in set(keys)}
    kinds = {f: sum(1 for k in counts if k and k[0] == f) for f in {k[0] for k in keys if k}}
    return np.array(
        [
            families_share / len(kinds) / kinds[k[0]] / counts[k] if k else (1 - families_share) / counts[None]
            for k in keys
        ]
    )


def family_of(record: dict) -> str | None:
    words = record["name"].split()
    if record["style"] in ("icon", "silhouette") or not words or "person" in words or "face" in words:
        return None
    return next((family for family, names in FAMILIES.items() if words[-1] in (family, *names.split())), None)


HUES = (
    (0.04, "red"),
    (0.11, "orange"),
    (0.19, "yellow"),
    (0.45, "green"),
    (0.53, "teal"),
    (0.70, "blue"),
    (0.80, "purple"),
    (0.95, "pink"),
    (1.01, "red"),
)


def colour_of(pixels: Tensor) -> str:
    """The colour word of one picture (3, 64, 64) on white, from the mean of what is not white."""
    flat = (pixels.reshape(3, -1) + 1) / 2
    ink = (flat.min(0).values < 0.93).float()
    red, green, blue = ((flat * ink).sum(1) / ink.sum().clamp(min=1)).tolist()
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if saturation < 0.18:
        return "black" if value < 0.3 else "white" if value > 0.8 else "grey"
    if 0.02 < hue < 0.13 and value < 0.65:
        return "brown"
    return next(word for edge, word in HUES if hue < edge)


def clean(name: str) -> str:
    return re.sub(r"[^a-z ]", " ", name.lower()).strip()
