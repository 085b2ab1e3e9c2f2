"""Strangers' pictures to pixels, within bounds: a hostile file costs one sentence, never the process."""

import io
import logging
from collections.abc import Callable

from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from services.errors import PictureError

MAX_PIXELS = 25_000_000
MAX_EDGE = 1024
_MAX_SCANS = 100  # a progressive JPEG has some ten; 42 bytes make one more, which is one more pass over all pixels
_START_OF_SCAN = b"\xff\xda"
_Reader = Callable[[io.BytesIO], ImageFile]
_READERS: dict[str, _Reader] = {"image/png": PngImageFile, "image/jpeg": JpegImageFile, "image/webp": WebPImageFile}
MEDIA_TYPES = tuple(_READERS)

logger = logging.getLogger(__name__)


def read_picture(data: bytes, media_type: str) -> Image.Image:
    """The picture upright, in RGB, transparency on white, without metadata, at most MAX_EDGE pixels on its longer edge.

    Raises PictureError for what is not one still picture of `media_type`, one of MEDIA_TYPES, with MAX_PIXELS at most.
    The reader of that type is called itself, not `Image.open`: nothing else is tried, and the one limit is ours.
    """
    try:
        with _READERS[media_type](io.BytesIO(data)) as image:
            _check(image, data)
            return _flatten(image)
    except PictureError:
        raise
    except Exception as error:  # a broken file leads Pillow into nearly every kind there is
        logger.info("unreadable %s: %r", media_type, error)
        raise PictureError(f"the picture cannot be read as {media_type}") from error


def encode_png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def _check(image: Image.Image, data: bytes) -> None:
    """Look at the header, before any pixel is decoded."""
    if (pixels := image.width * image.height) > MAX_PIXELS:
        raise PictureError(f"the picture has {pixels} pixels, {MAX_PIXELS} are taken")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise PictureError(f"the picture is animated, it has {frames} frames")
    if isinstance(image, JpegImageFile) and (scans := data.count(_START_OF_SCAN)) > _MAX_SCANS:
        raise PictureError(f"the picture has {scans} scans, {_MAX_SCANS} are taken")


def _flatten(image: Image.Image) -> Image.Image:
    image.draft(None, (MAX_EDGE, MAX_EDGE))  # a JPEG can be decoded at a half, a quarter or an eighth
    if image.mode == "I;16":  # grey PNG, which convert() would clip at 255
        image = image.point(lambda value: value / 256).convert("L")
    colours = image.convert("RGBA" if image.has_transparency_data else "RGB")
    colours.thumbnail((MAX_EDGE, MAX_EDGE))
    upright = ImageOps.exif_transpose(colours)
    white = Image.new("RGB", upright.size, "white")
    white.paste(upright, mask=upright if upright.mode == "RGBA" else None)
    return white
