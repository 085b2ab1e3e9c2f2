"""Plain samples above, rare ones below, each with its caption: one picture to compare them at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    edge = min(_LARGEST, max(max(image.size) for row in rows for image in row.images))
    column = max(edge, _NARROWEST)
    inner = max(3, *(len(row.images) for row in rows)) * (column + _GAP) - _GAP
    lines = [line for note in notes for line in wrap(note, inner // _LETTER)]
    top, step = _MARGIN + _TITLE + len(lines) * _NOTE, _LABEL + edge + _CAPTION
    sheet = Image.new("RGB", (inner + 2 * _MARGIN, top + len(rows) * step + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(30))
    for index, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + _TITLE + index * _NOTE), line, _INK, ImageFont.load_default(17))
    for index, row in enumerate(rows):
        _draw_row(sheet, row, top + index * step, edge, column)
    return sheet


def _draw_row(sheet: Image.Image, row: Row, top: int, edge: int, column: int) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, top + 14), row.label, _SOFT, ImageFont.load_default(17))
    for index, (image, caption) in enumerate(zip(row.images, row.captions, strict=True)):
        middle = _MARGIN + index * (column + _GAP) + column // 2
        own = image.convert("RGB")
        own.thumbnail((edge, edge))
        left, upper = middle - own.width // 2, top + _LABEL
        sheet.paste(own, (left, upper))
        pen.rectangle((left - 1, upper - 1, left + own.width, upper + own.height), outline=_LINE)
        pen.text((middle, upper + edge + 8), caption, _INK, ImageFont.load_default(17), anchor="ma")
