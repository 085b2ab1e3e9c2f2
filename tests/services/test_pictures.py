"""Every picture that we take comes out alike; every other one costs a sentence and little memory."""

import io
import struct
import zipfile
import zlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from PIL import Image

from services.errors import PictureError
from services.pictures import MAX_EDGE, MEDIA_TYPES, encode_png, read_picture

GREEN = Image.new("RGB", (200, 100), (0, 200, 0))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype="u1"))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, pixels: bytes = b"", more: bytes = b"") -> bytes:
    """A PNG that says what it is told to."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def half_transparent() -> Image.Image:
    image = GREEN.convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 100, 100))
    return image


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("picture.png", encoded(GREEN, "png"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(GREEN, "png"), "png"),
        (encoded(GREEN.convert("P"), "png"), "png"),
        (encoded(GREEN.quantize(4), "png"), "png"),
        (encoded(GREEN.convert("RGBA"), "png"), "png"),
        (encoded(GREEN, "png", icc_profile=b"no profile"), "png"),
        (encoded(GREEN, "jpeg"), "jpeg"),
        (encoded(GREEN, "jpeg", progressive=True), "jpeg"),
        (encoded(GREEN.convert("CMYK"), "jpeg"), "jpeg"),
        (encoded(GREEN, "webp"), "webp"),
        (encoded(GREEN.convert("RGBA"), "webp", lossless=True), "webp"),
    ],
)
def test_picture_of_any_mode_has_its_colours(data, kind):
    image = read_picture(data, f"image/{kind}")
    assert (image.mode, image.size, image.info) == ("RGB", (200, 100), {})
    assert np.abs(np.asarray(image, "i4") - (0, 200, 0)).max() <= 51  # the web palette's steps


@pytest.mark.parametrize("grey", [GREEN.convert("L"), GREEN.convert("LA"), GREEN.convert("1")])
def test_grey_picture_stays_grey(grey):
    image = read_picture(encoded(grey, "png"), "image/png")
    assert (np.asarray(image) == np.asarray(grey.convert("RGB"))).all()


@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_become_their_upper_eight(colour, samples):
    row = b"\0" + struct.pack(f">{samples}H", *[0x9C40] * (samples - (colour >= 4)), *[0xFFFF] * (colour >= 4))
    image = read_picture(png(1, 1, depth=16, colour=colour, pixels=row), "image/png")
    assert image.getpixel((0, 0)) == (0x9C,) * 3


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(half_transparent(), "png"), "png"),
        (encoded(half_transparent(), "webp", lossless=True), "webp"),
        (encoded(GREEN.quantize(4), "png", transparency=0), "png"),
        (encoded(GREEN, "png", transparency=(0, 200, 0)), "png"),
    ],
)
def test_transparency_is_white(data, kind):
    assert read_picture(data, f"image/{kind}").getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_picture_is_turned_upright(kind):
    image = NOISE.resize((64, 32))
    image.paste("red", (0, 0, 32, 16))
    upright = read_picture(encoded(image, kind, exif=rotated()), f"image/{kind}")
    assert upright.size == (32, 64)
    assert upright.getpixel((24, 8))[0] > 200 > upright.getpixel((24, 8))[1] + 100


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    ("size", "scaled"), [((2048, 1024), (1024, 512)), ((1000, 3000), (341, 1024)), ((9, 5), (9, 5))]
)
def test_longer_edge_is_bounded_and_nothing_is_enlarged(kind, size, scaled):
    assert read_picture(encoded(GREEN.resize(size), kind), f"image/{kind}").size == scaled


def test_png_of_a_picture_is_that_picture():
    data = encode_png(NOISE)
    assert (np.asarray(read_picture(data, "image/png")) == np.asarray(NOISE)).all()


def test_metadata_does_not_reach_the_stored_file():
    secret = b"GPS 52.5200 N"
    exif = Image.Exif()
    exif[0x010E] = secret.decode()
    data = encoded(GREEN, "jpeg", exif=exif, icc_profile=secret, comment=secret)
    assert secret in data
    assert secret not in encode_png(read_picture(data, "image/jpeg"))


FRAMES = [NOISE.rotate(angle) for angle in (0, 90, 180)]


@pytest.mark.parametrize(
    ("data", "kind", "sentence"),
    [
        (png(10_000, 10_000), "png", "has 100000000 pixels, 25000000 are taken"),
        (png(2**31 - 1, 2**31 - 1), "png", "25000000 are taken"),
        (png(30_000, 30_000, depth=1, colour=0, pixels=bytes(30_000 * 3751)), "png", "900000000 pixels"),
        (encoded(Image.new("L", (5001, 5000)), "jpeg"), "jpeg", "25005000 pixels"),
        (encoded(Image.new("L", (5001, 5000)), "webp"), "webp", "25005000 pixels"),
        (png(0, 5, pixels=bytes(5)), "png", "cannot be read as image/png"),
        (encoded(FRAMES[0], "png", save_all=True, append_images=FRAMES[1:]), "png", "animated, it has 3 frames"),
        (encoded(FRAMES[0], "webp", save_all=True, append_images=FRAMES[1:]), "webp", "animated, it has 3 frames"),
        (encoded(FRAMES[0], "gif", save_all=True, append_images=FRAMES[1:]), "png", "cannot be read as image/png"),
        (encoded(GREEN, "jpeg"), "png", "cannot be read as image/png"),
        (encoded(GREEN, "png"), "webp", "cannot be read as image/webp"),
        (encoded(GREEN, "tiff"), "jpeg", "cannot be read as image/jpeg"),
        (encoded(GREEN, "pdf"), "jpeg", "cannot be read as image/jpeg"),
        (zipped(), "png", "cannot be read as image/png"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "png", "cannot be read as image/png"),
        (b"", "webp", "cannot be read as image/webp"),
        (png(4, 4, more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "png", "cannot be read"),
        (png(4, 4, more=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))), "png", "cannot be read"),
        (png(4, 4, more=chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(10**6))) * 99), "png", "cannot be read"),
    ],
)
def test_picture_that_is_not_taken_costs_a_sentence(data, kind, sentence):
    with pytest.raises(PictureError, match=sentence):
        read_picture(data, f"image/{kind}")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_truncated_picture_is_refused(kind):
    data = encoded(NOISE, kind)
    for length in range(0, len(data) * 9 // 10, len(data) // 40):
        with pytest.raises(PictureError):
            read_picture(data[:length], f"image/{kind}")


def test_jpeg_of_endless_scans_is_refused_at_its_header():
    data = encoded(GREEN, "jpeg", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(PictureError, match="scans, 100 are taken"):
        read_picture(data[:last] + data[last:-2] * 100 + data[-2:], "image/jpeg")


def test_bomb_within_the_limit_becomes_a_small_picture():
    bomb = png(25_000_000, 1, depth=1, colour=0, pixels=bytes(1 + 3_125_000))
    assert len(bomb) < 4_000
    assert read_picture(bomb, "image/png").size == (MAX_EDGE, 1)


@pytest.mark.filterwarnings("ignore")  # Pillow's about damaged EXIF, which stop nothing outside of tests
@limits(deadline=None)
@given(data=st.data(), media_type=st.sampled_from(MEDIA_TYPES))
def test_damaged_picture_is_read_or_refused(data, media_type):
    damaged = bytearray(encoded(NOISE, media_type.removeprefix("image/"), exif=rotated()))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert max(read_picture(bytes(damaged), media_type).size) <= MAX_EDGE
    except PictureError:
        return
