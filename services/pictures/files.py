"""Picture files without what is thrown away anyway, so that no broken, long or hostile piece of it can be a reason."""

import io
import re
import struct
import zlib
from collections.abc import Iterator

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from services.errors import PictureError

MAX_SCANS = 100  # a progressive JPEG has some ten; 42 bytes make one more, which is one more pass over all pixels
_MAX_PROFILE_BYTES = 16 * 1024 * 1024  # a printer's takes 3 MB
_PNG_HEAD_BYTES = 8
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"eXIf"}
_LEARNT = b"raRb"  # a chunk of our own, which other programs leave alone: what led to the picture
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)  # without those that stand alone in a scan
_START_OF_SCAN, _END = 0xDA, 0xD9
_JPEG_DROPPED = {0xFE, *range(0xE3, 0xEE), 0xEF}  # comments and applications' own; not JFIF, EXIF, profile, Adobe


def open_png(data: bytes) -> ImageFile:
    """The picture of its pixels, transparency, orientation and profile; no text is unpacked."""
    kept = b"".join(chunk for name, chunk in _chunks(data) if name in _PNG_KEPT)
    image = PngImageFile(io.BytesIO(data[:_PNG_HEAD_BYTES] + kept))
    profiles = (chunk[8:-4] for name, chunk in _chunks(data) if name == b"iCCP")
    image.info["icc_profile"] = _inflated(next(profiles, b"").partition(b"\0")[2][1:])
    return image


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's name, and all of it; the last one as long as it is there."""
    at = _PNG_HEAD_BYTES
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at : at + length + 12]
        at += length + 12


def carrying(png: bytes, learnt: bytes) -> bytes:
    """The PNG with what led to its picture in it, which programs that show it do not see."""
    end = png.rindex(b"IEND") - 4
    chunk = struct.pack(">I", len(learnt)) + _LEARNT + learnt + struct.pack(">I", zlib.crc32(_LEARNT + learnt))
    return png[:end] + chunk + png[end:]


def carried(png: bytes) -> bytes | None:
    """What led to the picture; None where it does not carry that, or is no PNG."""
    found = (chunk for name, chunk in _chunks(png) if name == _LEARNT)
    return next((chunk[8:-4] for chunk in found if len(chunk) >= 12), None)


def _inflated(packed: bytes) -> bytes | None:
    """The profile; None for a broken or a very long one."""
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed, _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if unpacking.eof else None


def open_jpeg(data: bytes) -> ImageFile:
    """The picture of its pixels, orientation and profile; PictureError for more than MAX_SCANS scans.

    What stands behind it, a phone's film perhaps, is not looked at.
    """
    head, scans, kept = 0, 0, [data[:2]]
    for marker, start, end in _segments(data):
        scans += marker == _START_OF_SCAN
        head = head or (start if scans else 0)
        if not scans and marker not in _JPEG_DROPPED:
            kept.append(data[start:end])
    if scans > MAX_SCANS:
        raise PictureError(f"the picture has {scans} scans, {MAX_SCANS} are taken")
    return JpegImageFile(io.BytesIO(b"".join([*kept, data[head:]])))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment before the end of the image; pixels follow a start of a scan."""
    at = 2
    while (found := _JPEG_MARKER.search(data, at)) and found[1][0] != _END:
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
        yield found[1][0], found.start(), at


def open_webp(data: bytes) -> ImageFile:
    """The picture."""
    return WebPImageFile(io.BytesIO(data))
