"""Plain samples above, rare ones below, each with its caption: one picture to compare them at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

_LARGEST, _NARROWEST = 256, 216  # pixels: of a picture, and of a column, so that a caption fits
_GAP, _MARGIN, _LABEL, _CAPTION, _TITLE, _NOTE = 18, 32, 44, 38, 44, 26  # pixels
_LETTER = 9  # pixels of one, more than on average
_INK, _SOFT, _LINE, _PAPER = "#1c1c1e", "#76767e", "#dcdce0", "#fafaf8"


@dataclass(frozen=True)
class Row:
    """Pictures under one label; `captions` has one line for each."""

    label: str
    images: Sequence[Image.Image]
    captions: Sequence[str]


def contact_sheet(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> Image.Image:
    """The rows below each other under the title and the notes, every picture at its own size of 256 pixels at most."""
    rows = [replace(row, images=[_shown(image) for image in row.images]) for row in rows]
    widths, heights = zip(*(image.size for row in rows for image in row.images), strict=True)
    column, height = max(_NARROWEST, *widths), max(heights)
    inner = max(3, *(len(row.images) for row in rows)) * (column + _GAP) - _GAP
    lines = [line for note in notes for line in wrap(note, inner // _LETTER)]
    top, step = _MARGIN + _TITLE + len(lines) * _NOTE, _LABEL + height + _CAPTION
    sheet = Image.new("RGB", (inner + 2 * _MARGIN, top + len(rows) * step + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(30))
    for index, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + _TITLE + index * _NOTE), line, _INK, ImageFont.load_default(17))
    for index, row in enumerate(rows):
        _draw_row(sheet, row, top + index * step, column, height)
    return sheet


def _shown(image: Image.Image) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((_LARGEST, _LARGEST))
    return small


def _draw_row(sheet: Image.Image, row: Row, top: int, column: int, height: int) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, top + 14), row.label, _SOFT, ImageFont.load_default(17))
    for index, (image, caption) in enumerate(zip(row.images, row.captions, strict=True)):
        middle = _MARGIN + index * (column + _GAP) + column // 2
        left, upper = middle - image.width // 2, top + _LABEL
        sheet.paste(image, (left, upper))
        pen.rectangle((left - 1, upper - 1, left + image.width, upper + image.height), outline=_LINE)
        pen.text((middle, upper + height + 8), caption, _INK, ImageFont.load_default(17), anchor="ma")
