"""Every picture that we take comes out alike; every other one costs a sentence and little memory."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from PIL import Image

from profiles import ADOBE_RGB, DISPLAY_P3, LINEAR_GREY, RED_INK
from services.errors import PictureError
from services.pictures.pixels import MAX_EDGE, MEDIA_TYPES, encode_png, read_picture

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
        (encoded(Image.new("L", (7501, 6800)), "jpeg"), "jpeg", "has 51006800 pixels, 51000000 are taken"),
        (encoded(Image.new("L", (25_001, 1000)), "jpeg"), "jpeg", "has 25001000 pixels, 25000000 are taken"),
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
    ],
)
def test_picture_that_is_not_taken_costs_a_sentence(data, kind, sentence):
    with pytest.raises(PictureError, match=sentence):
        read_picture(data, f"image/{kind}")


def bomb(name: bytes, prefix: bytes, size: int) -> bytes:
    return chunk(name, prefix + zlib.compress(bytes(size)))


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 1_100_000)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x" * 1_100_000)),
        chunk(b"tEXt", b"no separator"),
        chunk(b"gAMA", b"") + chunk(b"pHYs", b"x") + chunk(b"eXIf", b"garbage"),
        bomb(b"zTXt", b"a\0\0", 10**8),
        bomb(b"iCCP", b"a\0\0", 10**8),
        bomb(b"iTXt", b"a\0\1\0\0\0", 10**6) * 99,
        chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(99))[:20]),
        chunk(b"iCCP", b"no separator"),
        struct.pack(">I", 3) + b"tEXt" + b"a\0b" + b"none",  # its checksum
    ],
)
def test_what_is_thrown_away_of_a_png_is_no_reason_and_is_not_unpacked(more):
    data = png(1, 1, pixels=b"\0\x01\x02\x03", more=more)
    tracemalloc.start()
    assert read_picture(data, "image/png").getpixel((0, 0)) == (1, 2, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 2**20


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + struct.pack(">BH", marker, len(data) + 2) + data


@pytest.mark.parametrize(
    "more",
    [
        segment(0xE1, b"Exif\0\0garbagegarbage"),
        segment(0xE1, b"Exif\0\0"),
        segment(0xE2, b"ICC_PROFILE\0\1\2half of it"),
        segment(0xED, b"Photoshop 3.0\x008BIM\4\4"),
        segment(0xFE, b"\xff\xda" * 200),
    ],
)
def test_what_is_thrown_away_of_a_jpeg_is_no_reason(more):
    plain = encoded(GREEN, "jpeg")
    assert read_picture(plain[:2] + more + plain[2:], "image/jpeg") == read_picture(plain, "image/jpeg")


def test_garbage_in_the_exif_of_a_webp_is_no_reason():
    image = read_picture(encoded(GREEN, "webp", exif=b"Exif\0\0garbagegarbage"), "image/webp")
    assert image == read_picture(encoded(GREEN, "webp"), "image/webp")


def test_film_behind_a_jpeg_is_not_looked_at():
    photo, film = encoded(GREEN, "jpeg"), b"\xff\xda\0\x08" * 1000
    assert read_picture(photo + film, "image/jpeg") == read_picture(photo, "image/jpeg")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"lossless": True, "exif": b"Exif\0\0"}])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_truncated_picture_is_refused_unless_all_of_it_is_there(kind, options):
    """Which the last bytes may leave open by a shade."""
    data = encoded(NOISE, kind, **options)
    whole = np.asarray(read_picture(data, f"image/{kind}"), "i4")
    taken = []
    for length in [*range(0, len(data) - 99, len(data) // 40), *range(len(data) - 99, len(data))]:
        try:
            picture = np.asarray(read_picture(data[:length], f"image/{kind}"), "i4")
        except PictureError:
            continue
        taken.append(length)
        assert np.abs(picture - whole).mean() < 1
    assert taken
    assert min(taken) > len(data) - 99


@pytest.mark.parametrize(("kind", "missing"), [("png", 12), ("png", 20), ("jpeg", 1), ("jpeg", 2), ("webp", 1)])
def test_end_of_a_file_may_be_missing(kind, missing):
    data = encoded(NOISE, kind)
    assert read_picture(data[:-missing], f"image/{kind}") == read_picture(data, f"image/{kind}")


def test_jpeg_of_endless_scans_is_refused_at_its_header():
    data = encoded(GREEN, "jpeg", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(PictureError, match="scans, 100 are taken"):
        read_picture(data[:last] + data[last:-2] * 100 + data[-2:], "image/jpeg")


RED = (255, 0, 0)
IN_P3, IN_ADOBE_RGB = (234, 51, 35), (219, 0, 0)  # what is RED there


def coloured(colour, mode="RGB"):
    return Image.new("RGB", (64, 64), colour).convert(mode)


@pytest.mark.parametrize(
    ("image", "kind", "profile", "colour"),
    [
        (coloured(IN_P3), "png", DISPLAY_P3, RED),
        (coloured(IN_ADOBE_RGB), "png", ADOBE_RGB, RED),
        (coloured(IN_P3), "jpeg", DISPLAY_P3, RED),
        (coloured(IN_P3), "webp", DISPLAY_P3, RED),
        (coloured(IN_P3, "RGBA"), "png", DISPLAY_P3, RED),
        (coloured(IN_P3, "RGBA"), "webp", DISPLAY_P3, RED),
        (coloured(IN_P3).quantize(4), "png", DISPLAY_P3, RED),
        (coloured((55, 55, 55), "L"), "png", LINEAR_GREY, (128, 128, 128)),
        (coloured((55, 55, 55), "LA"), "png", LINEAR_GREY, (128, 128, 128)),
        (coloured((55, 55, 55), "L"), "jpeg", LINEAR_GREY, (128, 128, 128)),
        (coloured((9, 99, 9), "CMYK"), "jpeg", RED_INK, RED),
        (coloured(IN_P3), "png", DISPLAY_P3 + bytes(2_000_000), RED),
        (coloured(IN_P3), "png", LINEAR_GREY, IN_P3),  # a profile of other colours
        (coloured(IN_P3), "png", RED_INK, IN_P3),
        (coloured((55, 55, 55), "L"), "png", DISPLAY_P3, (55, 55, 55)),
        (coloured(IN_P3), "webp", DISPLAY_P3[:200], IN_P3),
    ],
)
def test_colours_are_those_that_the_profile_means(image, kind, profile, colour):
    options = {"quality": 100} | ({"lossless": True} if kind == "webp" else {})
    read = read_picture(encoded(image, kind, icc_profile=profile, **options), f"image/{kind}")
    assert np.abs(np.subtract(read.getpixel((32, 32)), colour)).max() <= 8


def test_transparency_is_white_whatever_the_profile():
    image = coloured(IN_P3, "RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    read = read_picture(encoded(image, "png", icc_profile=DISPLAY_P3), "image/png")
    assert (read.getpixel((5, 5)), read.getpixel((60, 5))) == ((255, 255, 255), RED)


@pytest.mark.parametrize("progressive", [False, True])
def test_photo_of_a_48_megapixel_camera_is_scaled_down(progressive):
    photo = encoded(Image.new("RGB", (8064, 6048), RED), "jpeg", progressive=progressive)
    assert read_picture(photo, "image/jpeg").size == (1024, 768)


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
