"""What is handed out is decoded in full and judged again, whatever its candidate looked like."""

import torch
from PIL import Image

from services.diffusion.checkers.reading import Reading
from services.diffusion.judge import Judge
from services.diffusion.kandinsky.decoder import DecodeSettings
from services.diffusion.runtime.batching import ALONE
from services.diffusion.trials import Checked, State

CANDIDATE, FULL = DecodeSettings(32, 1, 3.0), DecodeSettings(64, 3, 3.0)


class Seeing:
    """A checker that looks at nothing but the size: what it says of a candidate, and in turn of full pictures."""

    def __init__(self, candidate: float, full: list[float]) -> None:
        self.candidate, self.full = candidate, full
        self.fingerprint = ""

    def reading(self, concept):
        return Reading(concept)

    def p_valid(self, images, _concept):
        return torch.tensor([self.candidate if i.width == 32 else self.full.pop(0) for i in images]).double()

    def embed(self, _images):
        return None


def looked_at(judge, count):
    """A check of a candidate for each seed."""
    embeds = torch.randn(count, 16, generator=torch.Generator().manual_seed(0))
    states = [State(seed, 1, embeds[seed], 1.0, 10.0, 0.5, 0.5, 0.0, 0.0) for seed in range(count)]
    return [Checked(s, [], *v) for s, v in zip(states, judge(list(range(count)), embeds), strict=True)]


def judging(model, checker, candidate=CANDIDATE):
    return Judge(model.decoder, checker, "chair", candidate, FULL, lambda *_: None, ALONE)


def seeds_of(checks):
    return [(check.state.seed, round(check.validity, 2), check.image.width) for check in checks]


def test_a_miss_in_full_takes_the_next_and_comes_after_what_held(model):
    judge = judging(model, Seeing(0.9, [0.8, 0.1, 0.7]))
    assert seeds_of(judge.hand_out(looked_at(judge, 4), 2)) == [(0, 0.8, 64), (2, 0.7, 64)]
    judge = judging(model, Seeing(0.9, [0.1, 0.8, 0.2]))
    assert seeds_of(judge.hand_out(looked_at(judge, 3), 2)) == [(1, 0.8, 64), (0, 0.1, 64)]


def test_what_was_never_valid_is_handed_out_without_a_search(model):
    checker = Seeing(0.2, [0.3, 0.1])
    judge = judging(model, checker)
    assert seeds_of(judge.hand_out(looked_at(judge, 4), 2)) == [(0, 0.3, 64), (1, 0.1, 64)]
    assert checker.full == []


def test_a_candidate_that_is_the_picture_is_not_decoded_again(model):
    judge = judging(model, Seeing(0.0, [0.9, 0.8]), candidate=FULL)
    checks = looked_at(judge, 2)
    assert judge.hand_out(checks, 2) == checks


def test_a_picture_in_full_is_of_its_candidates_noise_and_embedding(model):
    judge = judging(model, Seeing(0.9, [0.9, 0.9]))
    checks = looked_at(judge, 2)
    embeds = torch.stack([check.state.image_embeds for check in checks])
    noise = [torch.Generator().manual_seed(seed) for seed in range(2)]
    pictures = model.decoder.decode(embeds, noise, FULL, lambda *_: None)
    assert [check.image.tobytes() for check in judge.draw(checks)] == [image.tobytes() for image in pictures]
    assert isinstance(pictures[0], Image.Image)
