"""Pictures in one file: a zip of WebP, so that a set travels whole and one picture is read without the others."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def webp(image: Image.Image, quality: int = 92) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=3)
    return file.getvalue()


def write(path: Path, pictures: Iterable[bytes]) -> None:
    """Encoded pictures as `00000.webp`, `00001.webp`, …; the file appears whole or not at all."""
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for i, picture in enumerate(pictures):
            archive.writestr(f"{i:05}.webp", picture)
    part.replace(path)


def read(path: Path, index: Sequence[int] | None = None) -> Iterator[np.ndarray]:
    """The pictures (height, width, 3) uint8, all of them in order or those of `index`."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist() if index is None else [f"{i:05}.webp" for i in index]
        for name in names:
            yield np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
