"""Laws of previews: small, few, safe, and for nothing unless somebody asks."""

import base64
import io
import time

import pytest
from PIL import Image

from dark_classifier import save_dark_classifier
from services.diffusion.checkers.safety import load_safety_checker
from services.diffusion.runtime.observer import Snapshot
from worker.previews import PICTURES, PIXELS, Previews


def snapshot(bits=9.0, validity=0.9, size=(64, 64), color="white"):
    return Snapshot(bits, validity, 0.0, 0.0, "moving", Image.new("RGB", size, color))


def wanted(safety=None):
    previews = Previews(safety)
    previews.wanted = True
    return previews


def opened(picture):
    head, _, data = picture.url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_are_small_jpegs_of_their_trials():
    previews = wanted()
    blank = Snapshot(1.0, None, 0.0, 0.0, "moving")
    previews.see(25, [blank, snapshot(size=(768, 512), color="red")])
    preview = previews.due()
    [picture] = preview.pictures
    image = opened(picture)
    assert (preview.step, picture.trial, picture.bits, picture.validity) == (25, 1, 9.0, 0.9)
    assert (image.format, max(image.size), image.getpixel((0, 0))) == (
        "JPEG",
        PIXELS,
        pytest.approx((254, 0, 0), abs=2),
    )


def test_no_more_than_two_a_second_and_none_of_the_pictures_in_between_is_lost():
    previews, shown, begin = wanted(), [], time.monotonic()
    for trial in range(12):
        previews.see(trial, [snapshot() if i == trial else Snapshot(1.0, None, 0.0, 0.0, "moving") for i in range(12)])
        if preview := previews.due():
            shown.append(preview)
        time.sleep(0.1)
    elapsed_s = time.monotonic() - begin
    assert 2 <= len(shown) <= 1 + 2 * elapsed_s
    trials = [picture.trial for preview in shown for picture in preview.pictures]
    assert trials == [*range(len(trials))]


def test_of_many_the_rarest_valid_ones_are_shown_in_their_order():
    previews = wanted()
    previews.see(25, [snapshot(bits=float(i % 20), validity=0.2 if i % 20 == 19 else 0.9) for i in range(40)])
    pictures = previews.due().pictures
    assert [picture.trial for picture in pictures] == sorted(picture.trial for picture in pictures)
    assert sorted(picture.bits for picture in pictures) == sorted([float(bits) for bits in range(11, 19)] * 2)
    assert len(pictures) == PICTURES


def test_nothing_unsafe_is_shown(tmp_path):
    safety = load_safety_checker(str(save_dark_classifier(tmp_path, 0.5)), device="cpu")
    previews = wanted(safety)
    previews.see(25, [snapshot(color="black"), snapshot(color="white")])
    assert [picture.trial for picture in previews.due().pictures] == [1]
    later = wanted(safety)
    later.see(25, [snapshot(color="black")])
    assert later.due() is None


def test_what_nobody_asks_for_is_neither_kept_nor_encoded():
    unreadable = snapshot()
    unreadable.image.close()
    previews = Previews(None)
    previews.see(25, [unreadable])
    assert previews.due() is None
    previews.wanted = True
    assert previews.due() is None
