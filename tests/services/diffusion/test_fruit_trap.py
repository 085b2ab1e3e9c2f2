"""A picture that is covered with the concept is not of it: the paper's "fruit" became a person in a fruit print."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops
from torch.nn.functional import cosine_similarity

from services.diffusion.checkers.open_clip import Checker, load_checker
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.kandinsky.model import Kandinsky

from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection  # isort: skip

CHECKPOINT = Path(__file__).parents[3] / "deploy/checkpoints/rarebit-mini"
PROMPT = "Professional high-quality photo of a {}. photorealistic, 4k, HQ."
SUBJECTS = ["umbrella", "hat", "sofa", "table", "house"]
MOTIFS = ["car", "cup"]
SEEDS = list(range(5))
MOTIF_PIXELS, SPACING = 56, 72


@pytest.fixture(scope="module")
def embedded() -> Kandinsky:
    return Kandinsky.load(str(CHECKPOINT / "prior"), str(CHECKPOINT / "decoder"), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def judge() -> Checker:
    return load_checker(str(CHECKPOINT / "scorer"), device="cpu", dtype=None)


@pytest.fixture(scope="module")
def drawn(embedded: Kandinsky) -> dict[str, list[Image.Image]]:
    """What the embedded model draws, a picture per seed."""
    return {name: draw(embedded, name) for name in SUBJECTS + MOTIFS}


@torch.no_grad()
def draw(model: Kandinsky, name: str) -> list[Image.Image]:
    positive = model.encode_prompt(PROMPT.replace("{}", name))
    embeds = model.sample_prior(positive, noise_of(SEEDS), len(SEEDS), cached=True)
    return model.decoder.decode(embeds, noise_of(SEEDS), model.decoder.settings(None, None, None), lambda *_: None)


@pytest.fixture(scope="module")
def loss_cosine(embedded: Kandinsky) -> Callable[[list[Image.Image], str], torch.Tensor]:
    """What the loss's anchor measures, in the space that the prior was trained in."""
    encoder = CLIPVisionModelWithProjection.from_pretrained(CHECKPOINT / "prior/image_encoder").float().eval()
    processor = CLIPImageProcessor.from_pretrained(CHECKPOINT / "prior/image_processor")

    @torch.no_grad()
    def cosine(images: list[Image.Image], name: str) -> torch.Tensor:
        text_embeds = embedded.encode_prompt(PROMPT.replace("{}", name)).text_embeds
        return cosine_similarity(encoder(processor(images, return_tensors="pt").pixel_values).image_embeds, text_embeds)

    return cosine


def silhouette(image: Image.Image) -> Image.Image:
    """255 where a picture on white is anything else."""
    return (
        ImageChops.difference(image, Image.new("RGB", image.size, "white")).convert("L").point(lambda v: 255 * (v > 30))
    )


def printed(subject: Image.Image, motif: Image.Image) -> Image.Image:
    """The subject in a print of small motifs, which stays within its outline."""
    small = motif.crop(silhouette(motif).getbbox())
    small.thumbnail((MOTIF_PIXELS, MOTIF_PIXELS))
    pattern = subject.copy()
    for x in range(0, subject.width, SPACING):
        for y in range(0, subject.height, SPACING):
            pattern.paste(small, (x, y), silhouette(small))
    return Image.composite(pattern, subject, silhouette(subject))


def prints(drawn: dict[str, list[Image.Image]], subject: str, motif: str) -> list[Image.Image]:
    return [printed(*pair) for pair in zip(drawn[subject], drawn[motif], strict=True)]


@pytest.mark.parametrize("motif", MOTIFS)
def test_a_subject_in_a_print_of_the_concept_is_not_the_concept(drawn, judge, motif):
    """Of 50 pictures, twice these, 10 in a print of cars and none in a print of cups were taken for one."""
    images = [image for subject in SUBJECTS for image in prints(drawn, subject, motif)]
    assert (judge.p_valid(drawn[motif], motif) > 0.5).sum() >= 3
    assert (judge.p_valid(images, motif) > 0.5).sum() <= len(images) // 4


def test_neither_the_judge_nor_the_losss_own_encoder_takes_a_print_for_the_concept(drawn, judge, loss_cosine):
    """Hats in a print of cars: less of a car to the judge, and further from the words, in the loss's space."""
    hats = prints(drawn, "hat", "car")
    assert loss_cosine(hats, "car").mean() < loss_cosine(drawn["car"], "car").min()
    assert judge.p_valid(hats, "car").mean() < judge.p_valid(drawn["car"], "car").mean() - 0.1
