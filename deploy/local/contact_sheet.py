"""Plain samples above, rare ones below, each with its caption: one picture to compare them at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_TILE, _GAP, _MARGIN, _LABEL, _CAPTION, _TITLE = 192, 18, 32, 44, 38, 44  # pixels
_INK, _SOFT, _LINE, _PAPER = "#1c1c1e", "#76767e", "#dcdce0", "#fafaf8"


@dataclass(frozen=True)
class Row:
    """Pictures under one label; `captions` has one line for each."""

    label: str
    images: Sequence[Image.Image]
    captions: Sequence[str]


def contact_sheet(title: str, rows: Sequence[Row]) -> Image.Image:
    """The rows below each other under the title, every picture scaled to a tile of 192 pixels."""
    columns = max(3, *(len(row.images) for row in rows))
    width = 2 * _MARGIN + columns * (_TILE + _GAP) - _GAP
    height = 2 * _MARGIN + _TITLE + len(rows) * (_LABEL + _TILE + _CAPTION)
    sheet = Image.new("RGB", (width, height), _PAPER)
    ImageDraw.Draw(sheet).text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(30))
    for index, row in enumerate(rows):
        _draw_row(sheet, row, _MARGIN + _TITLE + index * (_LABEL + _TILE + _CAPTION))
    return sheet


def _draw_row(sheet: Image.Image, row: Row, top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, top + 14), row.label, _SOFT, ImageFont.load_default(17))
    for column, (image, caption) in enumerate(zip(row.images, row.captions, strict=True)):
        left, upper = _MARGIN + column * (_TILE + _GAP), top + _LABEL
        sheet.paste(image.convert("RGB").resize((_TILE, _TILE), Image.Resampling.LANCZOS), (left, upper))
        pen.rectangle((left - 1, upper - 1, left + _TILE, upper + _TILE), outline=_LINE)
        pen.text((left + _TILE // 2, upper + _TILE + 8), caption, _INK, ImageFont.load_default(17), anchor="ma")
