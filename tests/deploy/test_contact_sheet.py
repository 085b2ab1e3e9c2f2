from PIL import Image

from deploy.local.contact_sheet import Row, contact_sheet


def test_every_picture_has_a_whole_tile_of_its_own():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255)]
    images = [Image.new("RGB", (64, 64), colour) for colour in colours]
    sheet = contact_sheet("handbag", [Row("plain", images[:2], ["1 bit"] * 2), Row("rare", images[2:], ["9 bits"] * 2)])
    pixels = {colour: count for count, colour in sheet.getcolors(maxcolors=1 << 20)}
    assert {colour: pixels[colour] for colour in colours} == dict.fromkeys(colours, 192 * 192)
