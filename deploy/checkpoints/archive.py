"""Pictures in one file: a zip of WebP, so that a set travels whole and one picture is read without the others."""

import io
import itertools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
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


def read(paths: Sequence[Path], size: int, wanted: Sequence[bool]) -> Iterator[np.ndarray]:
    """The wanted ones of all the archives' pictures, in order, (size, size, 3) uint8."""
    for picture in itertools.compress(encoded(paths), wanted):
        image = Image.open(io.BytesIO(picture())).convert("RGB")
        yield np.asarray(image.resize((size, size), Image.Resampling.BOX))


def encoded(paths: Sequence[Path]) -> Iterator[Callable[[], bytes]]:
    """Each picture of the archives as it is stored, read when it is called for."""
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield partial(archive.read, name)
