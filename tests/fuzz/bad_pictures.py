"""Corrupt and hostile pictures: what the strangers' files may hold that the gateway decodes."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from tests.fuzz.answers import Attack

TYPES = ("image/png", "image/jpeg", "image/webp")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = {
    "png": ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"],
    "jpeg": ["RGB", "L", "CMYK", "YCbCr"],
    "webp": ["RGB", "RGBA", "L", "P"],
}
_SIZES = [0, 1, 2, 255, 65_535, 65_536, 5_000, 30_000, 2**31 - 1, 2**31, 2**32 - 1]
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>'


def hostile_picture(draw: random.Random) -> Attack:
    """An upload that says to be of a type that is taken."""
    data, media_type = draw.choice(_MAKERS)(draw), draw.choice(TYPES)
    if draw.random() < 0.9:
        media_type = _type_of(data) or media_type
    headers = ["Host: localhost", f"Content-Type: {media_type}", f"Content-Length: {len(data)}"]
    head = "\r\n".join(["POST /images HTTP/1.1", *headers, "", ""])
    return Attack(head.encode() + data, ends=True, operation="POST /images")


def _type_of(data: bytes) -> str | None:
    starts = {_SIGNATURE: "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "image/webp"}
    return next((kind for start, kind in starts.items() if data.startswith(start)), None)


@cache
def _saved(number: int) -> bytes:
    """One of many good pictures, of every mode, many sizes, rotated, animated, or of a type that is not taken."""
    draw = random.Random(number)
    width, height = (draw.choice([1, 2, 17, 64, 300]) for _ in range(2))
    image = Image.fromarray(np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype="u1"))
    if draw.random() < 0.2:
        return _encoded(
            image.resize((64, 64)), draw.choice(["gif", "tiff", "bmp", "ico", "ppm", "tga", "jpeg2000", "pdf", "dds"])
        )
    kind = draw.choice(list(_MODES))
    exif = Image.Exif()
    exif[0x0112] = draw.randrange(12)  # orientation: 1 to 8 are defined
    options = {"exif": exif.tobytes(), "icc_profile": draw.randbytes(90), "progressive": draw.random() < 0.5}
    if kind != "jpeg" and draw.random() < 0.1:
        options |= {"save_all": True, "append_images": [image, image.rotate(90)]}
    mode = draw.choice(_MODES[kind])
    source = image.convert("I") if mode == "I;16" else image
    return _encoded(source.convert(mode), kind, **options)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _good(draw: random.Random) -> bytes:
    return _saved(draw.randrange(200))


def _flipped(draw: random.Random) -> bytes:
    data = bytearray(_good(draw))
    for _ in range(draw.choice([1, 2, 8, 64])):
        data[draw.randrange(min(len(data), draw.choice([32, 256, 10**9])))] ^= 1 << draw.randrange(8)
    return bytes(data)


def _truncated(draw: random.Random) -> bytes:
    data = _good(draw)
    return data[: draw.randrange(len(data))]


def _spliced(draw: random.Random) -> bytes:
    """The beginning of one file, the end of another, or garbage behind it."""
    first, second = _good(draw), draw.choice([_good(draw), draw.randbytes(500), _SVG, b"PK\x03\x04" + bytes(100)])
    return first[: draw.choice([draw.randrange(len(first)), len(first)])] + second


def _disguised(draw: random.Random) -> bytes:
    start = draw.choice(
        [_SIGNATURE, b"\xff\xd8\xff\xe0", b"RIFF\x24\0\0\0WEBPVP8 ", b"RIFF\xff\xff\xff\xffWEBPVP8X", b""]
    )
    return start + draw.choice(
        [_SVG, b"GIF89a", b"%!PS\n", b"II*\0", b"\0\0\1\0", draw.randbytes(900), b"%PDF-1.7", b""]
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _forged_png(draw: random.Random) -> bytes:
    """A PNG whose checksums hold and whose header, palette, transparency and pixels need not fit each other."""
    small = [draw.choice([1, 2, 3, 64]) for _ in range(2)]
    width, height = small if draw.random() < 0.5 else draw.choices(_SIZES, k=2)
    depth, colour = draw.choice([1, 2, 4, 8, 16, 0, 3, 255]), draw.choice([0, 2, 3, 4, 6, 1, 5, 255])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, draw.choice([0, 0, 1]), 0, draw.choice([0, 1, 2]))
    extras = b"".join(draw.choice(_EXTRAS)(draw) for _ in range(draw.choice([0, 1, 2, 9])))
    pixels = zlib.compress(draw.choice([b"", bytes(100_000), draw.randbytes(999), bytes(10_000_000)]), 9)
    pieces = [_chunk(b"IDAT", pixels[: draw.choice([len(pixels), 20])]) for _ in range(draw.choice([1, 1, 2, 0]))]
    return _SIGNATURE + _chunk(b"IHDR", header) + extras + b"".join(pieces) + _chunk(b"IEND", b"")


def _bomb(draw: random.Random) -> bytes:
    """100 MB of nothing, or 1 MB, in a chunk that holds compressed text or a profile."""
    name, prefix = draw.choice([(b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")])
    return _chunk(name, prefix + _zeros(draw.choice([10**6, 10**8]))) * draw.choice([1, 40])


@cache
def _zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


_EXTRAS: list[Callable[[random.Random], bytes]] = [
    _bomb,
    lambda draw: _chunk(b"PLTE", draw.randbytes(draw.choice([0, 1, 3, 768, 999]))),
    lambda draw: _chunk(b"tRNS", draw.randbytes(draw.choice([0, 1, 2, 6, 256, 999]))),
    lambda draw: _chunk(b"acTL", struct.pack(">II", draw.choice([0, 1, 2, 2**32 - 1]), 0)),
    lambda draw: _chunk(b"fcTL", draw.randbytes(26)),
    lambda draw: _chunk(b"fdAT", draw.randbytes(40)),
    lambda draw: _chunk(b"eXIf", b"II*\0" + draw.randbytes(draw.choice([0, 4, 300]))),
    lambda draw: _chunk(b"gAMA", draw.randbytes(4)) + _chunk(b"pHYs", draw.randbytes(9)),
    lambda draw: _chunk(draw.randbytes(4), draw.randbytes(30)),
    lambda draw: struct.pack(">I", draw.choice([2**31, 2**32 - 1, 10**6])) + b"tEXt",
]


def _forged_jpeg(draw: random.Random) -> bytes:
    """A JPEG that says to be of another size, with more scans, or with broken segments."""
    data = bytearray(draw.choice([data for number in range(60) if (data := _saved(number)).startswith(b"\xff\xd8")]))
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    struct.pack_into(">HH", data, frame + 5, *(min(size, 65_535) for size in draw.choices(_SIZES, k=2)))
    scan = data.find(b"\xff\xda")
    return bytes(data[:-2] + data[scan:-2] * draw.choice([0, 1, 90, 2000]) + data[-2:])


def _forged_webp(draw: random.Random) -> bytes:
    """A WebP with a canvas of any size around one that is there, and any flags."""
    inner = _webp(draw.choice([(1, 1), (64, 64)]))[12:]
    flags, canvas = draw.randrange(256), [struct.pack("<I", draw.choice(_SIZES) & 0xFFFFFF)[:3] for _ in range(2)]
    extended = b"VP8X" + struct.pack("<IB3x", 10, flags) + b"".join(canvas)
    metadata = draw.choice([b"", b"EXIF\x04\0\0\0II*\0", b"ICCP\xff\xff\xff\x7f", b"ANIM\x06\0\0\0" + bytes(6)])
    body = b"WEBP" + extended + metadata + inner * draw.choice([1, 2])
    return b"RIFF" + struct.pack("<I", draw.choice([len(body), 4, 2**32 - 1])) + body


@cache
def _webp(size: tuple[int, int]) -> bytes:
    return _encoded(Image.new("RGB", size), "webp", lossless=True)


@cache
def _huge(kind: str, pixels: int) -> bytes:
    return _encoded(Image.new("L", (pixels // 5000, 5000)), kind)


def _at_the_limit(draw: random.Random) -> bytes:
    """As many pixels as are taken, or one row too many."""
    return _huge(draw.choice(["png", "jpeg", "webp"]), draw.choice([25_000_000, 25_005_000]))


_MAKERS: list[Callable[[random.Random], bytes]] = [
    *[_good, _disguised, _spliced, _forged_jpeg, _forged_webp] * 8,
    *[_flipped, _truncated, _forged_png] * 16,
    _at_the_limit,
]
