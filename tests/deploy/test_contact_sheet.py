import pytest
from PIL import Image

from deploy.local.contact_sheet import Row, contact_sheet

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255)]


@pytest.mark.parametrize(("size", "shown"), [(64, 64), (256, 256), (768, 256)])
def test_every_picture_is_there_whole_at_its_own_size_and_no_larger_than_256(size, shown):
    images = [Image.new("RGB", (size, size), colour) for colour in COLOURS]
    sheet = contact_sheet("handbag", [Row("plain", images[:2], ["1 bit"] * 2), Row("rare", images[2:], ["9 bits"] * 2)])
    pixels = {colour: count for count, colour in sheet.getcolors(maxcolors=1 << 20)}
    assert {colour: pixels[colour] for colour in COLOURS} == dict.fromkeys(COLOURS, shown * shown)


def test_a_sheet_of_wide_pictures_is_no_higher_than_they_are():
    wide, square = (
        contact_sheet("handbag", [Row("plain", [Image.new("RGB", size, COLOURS[0])], ["1 bit"])])
        for size in [(384, 192), (256, 256)]
    )
    pixels = {colour: count for count, colour in wide.getcolors(maxcolors=1 << 20)}
    assert pixels[COLOURS[0]] == 256 * 128
    assert (wide.width, wide.height) == (square.width, square.height - 128)


def test_notes_stand_above_the_pictures_and_take_none_of_their_room():
    row = Row("rare", [Image.new("RGB", (64, 64), COLOURS[0])], ["9.0 bits · validity unknown"])
    plain, noted = (contact_sheet("telescope", [row], notes) for notes in ([], ["The judge knows no “telescope”."]))
    below = noted.crop((0, noted.height - plain.height + 76, *noted.size))
    assert noted.height > plain.height
    assert below.tobytes() == plain.crop((0, 76, *plain.size)).tobytes()
