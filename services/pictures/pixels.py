"""Strangers' pictures to pixels, within bounds: a hostile file costs one sentence, never the process."""

import io
import logging

from PIL import Image, ImageCms, ImageOps

from services.errors import PictureError
from services.pictures.files import open_jpeg, open_png, open_webp

MAX_PIXELS = 25_000_000  # that are decoded: a JPEG may be at a half, a quarter or an eighth of its size
MAX_JPEG_PIXELS = 51_000_000  # a progressive one is unpacked at its full size, two bytes for each colour of a pixel
MAX_EDGE = 1024
_READERS = {"image/png": open_png, "image/jpeg": open_jpeg, "image/webp": open_webp}
MEDIA_TYPES = tuple(_READERS)
_MISSING_BYTES = 64 * 1024
_ENDS = (b"\xff\xd9" + bytes(_MISSING_BYTES), b"\x55" * _MISSING_BYTES + b"\xff\xd9")  # with a JPEG's last marker
_SRGB = ImageCms.createProfile("sRGB")

logger = logging.getLogger(__name__)


def read_picture(data: bytes, media_type: str) -> Image.Image:
    """The picture upright, in sRGB, transparency on white, without metadata, its longer edge MAX_EDGE pixels at most.

    Raises PictureError for what is not one still picture of `media_type`, one of MEDIA_TYPES, within the limits.
    The reader of that type is called itself, not `Image.open`: nothing else is tried, and the limits are ours.
    """
    try:
        return _read(data, media_type)
    except PictureError:
        raise
    except Exception as error:  # a broken file leads Pillow into nearly every kind there is
        logger.info("unreadable %s: %r", media_type, error)
        if (picture := _read_cut_short(data, media_type)) is None:
            raise PictureError(f"the picture cannot be read as {media_type}") from error
        return picture


def media_type_of(data: bytes) -> str:
    """Which of MEDIA_TYPES the file is by its first bytes; PictureError for none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    for media_type, signature in (("image/png", b"\x89PNG\r\n\x1a\n"), ("image/jpeg", b"\xff\xd8\xff")):
        if data.startswith(signature):
            return media_type
    raise PictureError("the picture is none of " + ", ".join(MEDIA_TYPES))


def normalize(data: bytes, media_type: str | None = None) -> tuple[bytes, tuple[int, int]]:
    """The picture as `read_picture` takes it, as PNG, with its size. Raises PictureError."""
    image = read_picture(data, media_type or media_type_of(data))
    return encode_png(image), image.size


def encode_png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def _read_cut_short(data: bytes, media_type: str) -> Image.Image | None:
    """The picture of a file that lacks some of its end, where no pixel of the picture depends on that."""
    try:
        one, other = (_read(data.removesuffix(b"\xff") + end, media_type) for end in _ENDS)
    except Exception:
        return None
    return one if one == other else None


def _read(data: bytes, media_type: str) -> Image.Image:
    with _READERS[media_type](data) as image:
        most = MAX_JPEG_PIXELS if media_type == "image/jpeg" else MAX_PIXELS
        _check(image, most)
        image.draft(None, (MAX_EDGE, MAX_EDGE))  # a JPEG is decoded at a half, a quarter or an eighth
        _check(image, MAX_PIXELS)
        return _flatten(image)


def _check(image: Image.Image, most: int) -> None:
    """Look at the header, before any pixel is decoded."""
    if (pixels := image.width * image.height) > most:
        raise PictureError(f"the picture has {pixels} pixels, {most} are taken")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise PictureError(f"the picture is animated, it has {frames} frames")


def _flatten(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    colours = _upright(_small(image))
    white = Image.new("RGB", colours.size, "white")
    alpha = colours.getchannel("A") if "A" in colours.getbands() else None
    white.paste(_to_srgb(colours.convert(colours.mode.removesuffix("A")), profile), mask=alpha)
    return white


def _small(image: Image.Image) -> Image.Image:
    """The picture in L, RGB or CMYK, as its profile has it, or in LA or RGBA, and of the size that is kept."""
    if image.mode == "I;16":  # grey PNG, which convert() would clip at 255
        image = image.point(lambda value: value / 256).convert("L")
    mode = image.mode if image.mode == "CMYK" else "L" if image.mode in {"1", "L", "LA"} else "RGB"
    colours = image.convert(f"{mode}A" if image.has_transparency_data else mode)
    colours.thumbnail((MAX_EDGE, MAX_EDGE))
    return colours


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # EXIF is broken in as many ways as files are
        logger.info("unreadable EXIF: %r", error)
        return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The same colours in sRGB, as numbers in RGB; a profile that is broken, or for other colours, counts as none."""
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = ImageCms.buildTransform(own, _SRGB, image.mode, "RGB")
            return transform.apply(image)
        except (ImageCms.PyCMSError, OSError) as error:
            logger.info("unreadable colour profile: %r", error)
    return image.convert("RGB")
