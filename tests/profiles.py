"""Colour profiles (ICC.1:2010), of as many bytes as they need: two RGB spaces, one grey, and an ink that is red."""

import struct


def _profile(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, data, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(data), len(content))
        data += padded
    head = struct.pack(">I4sI4s4s4s12x4s24xI", at + len(data), b"", 0x02400000, kind, space, connection, b"acsp", 0)
    return head + _numbers(*_WHITE) + bytes(48) + table + data


def _numbers(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _xyz(*numbers: float) -> bytes:
    return b"XYZ \0\0\0\0" + _numbers(*numbers)


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


_WHITE = (0.9642, 1.0, 0.8249)
_SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + _numbers(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _rgb(red: bytes, green: bytes, blue: bytes, curve: bytes) -> bytes:
    primaries = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"RGB ", b"XYZ ", b"mntr", {b"wtpt": _xyz(*_WHITE)} | primaries | curves)


def _cmyk(lightness: int, a: int, b: int) -> bytes:
    """Every mix of inks without black has the one colour, in bytes of Lab; with it, it is black."""
    head = struct.pack(">4s4xBBBx", b"mft1", 4, 3, 2) + _numbers(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = head + bytes(range(256)) * 4 + bytes((lightness, a, b, 0, 128, 128)) * 2**3 + bytes(range(256)) * 3
    return _profile(b"CMYK", b"Lab ", b"prtr", {b"wtpt": _xyz(*_WHITE), b"A2B0": table})


DISPLAY_P3 = _rgb(
    _xyz(0.51512, 0.2412, -0.00105), _xyz(0.29198, 0.69225, 0.04189), _xyz(0.1571, 0.06657, 0.78407), _SRGB_CURVE
)
ADOBE_RGB = _rgb(
    _xyz(0.60974, 0.31111, 0.01947), _xyz(0.20528, 0.62567, 0.06087), _xyz(0.14919, 0.06322, 0.74457), _gamma(2.2)
)
LINEAR_GREY = _profile(b"GRAY", b"XYZ ", b"mntr", {b"wtpt": _xyz(*_WHITE), b"kTRC": _gamma(1)})
RED_INK = _cmyk(138, 208, 198)  # sRGB's red: 54, 81, 70
