"""Finished work on disk: a unit is what one call of a method gave, written whole or not at all."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file, save_file

from deploy.evaluate.case import Sample
from deploy.local.pictures import picture_paths, slug

META, EMBEDS = "unit.json", "image_embeds.safetensors"


@dataclass(frozen=True)
class Unit:
    """One call: `count` pictures of a concept by a method, from a seed."""

    method: str
    concept: str
    seed: int
    count: int

    @property
    def path(self) -> Path:
        """Where it lies below the folder of all units."""
        return Path(self.method, slug(self.concept), f"seed-{self.seed}")


@dataclass(frozen=True)
class Finished:
    """A unit's pictures, and the wall-clock and CPU seconds that sampling them took when it was first done."""

    unit: Unit
    sample: Sample
    wall_s: float
    cpu_s: float


def fingerprint(settings: dict[str, Any]) -> str:
    """SHA-256 of settings that are JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


class Units:
    """The units below a folder, which several processes may work on at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, unit: Unit) -> Path:
        return self._folder / "images" / unit.path

    def pictures(self, unit: Unit) -> list[Path]:
        """Where the pictures lie."""
        return picture_paths(self.folder(unit), unit.concept, unit.count, "png")

    def is_done(self, unit: Unit, settings: dict[str, Any]) -> bool:
        """Whether the unit is there, and of these settings."""
        meta = self.folder(unit) / META
        return meta.exists() and json.loads(meta.read_text())["fingerprint"] == fingerprint(settings)

    def save(self, finished: Finished, settings: dict[str, Any]) -> None:
        """Write into a folder of its own and move that into place, over what other settings left there."""
        folder, sample = self.folder(finished.unit), finished.sample
        draft = folder.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        paths = picture_paths(draft, finished.unit.concept, finished.unit.count, "png")
        for image, path in zip(sample.images, paths, strict=True):
            image.save(path)
        save_file({"image_embeds": sample.image_embeds.cpu().contiguous()}, draft / EMBEDS)
        facts = {"seeds": sample.seeds, "wall_s": finished.wall_s, "cpu_s": finished.cpu_s}
        meta = facts | {"fingerprint": fingerprint(settings), "settings": settings}
        (draft / META).write_text(json.dumps(meta, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)

    def load(self, unit: Unit) -> Finished:
        """What `save` wrote."""
        meta = json.loads((self.folder(unit) / META).read_text())
        images = [_opened(path) for path in self.pictures(unit)]
        image_embeds = load_file(self.folder(unit) / EMBEDS)["image_embeds"]
        return Finished(unit, Sample(images, image_embeds, meta["seeds"]), meta["wall_s"], meta["cpu_s"])

    @contextmanager
    def locked(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Whether this process alone has `name`, until the end or its death; with `wait` it always will."""
        path = self._folder / ".locks" / name.replace("/", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
