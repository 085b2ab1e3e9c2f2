"""Look at a finished checkpoint: grids of plain and of rare pictures, what the judge calls the plain ones, and how far
they are from memory.

Writes `samples.webp` and `rare.webp`, and prints the figures of the model card as markdown.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deploy.checkpoints.corpus import Pictures, family_of
from deploy.evaluate.features import Features, Probe
from services.diffusion.checkers.open_clip import OpenClipChecker
from services.diffusion.density.fit import fit_density
from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate
from services.diffusion.kandinsky.decoder import noise_of
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.texts.concepts import DEFAULT_PROMPT

TWELVE = ("handbag", "chair", "lamp", "cup", "clock", "car", "hat", "shoe", "house", "phone", "table", "umbrella")
BATCH, TAUGHT, SAMPLES = 25, 250, 5000


@torch.no_grad()
def draw(model: Kandinsky, concept: str, count: int) -> tuple[Tensor, list[Image.Image]]:
    """Image embeddings (count, dim) and pictures of the plain prompt, from seeds 0, 1, …"""
    positive, settings = model.encode_prompt(DEFAULT_PROMPT.format(concept)), model.decoder.settings(None, None, None)
    embeds, images = [], []
    for start in range(0, count, BATCH):
        seeds = list(range(start, min(start + BATCH, count)))
        z = model.sample_prior(positive, noise_of(seeds), len(seeds))
        embeds.append(z)
        images += model.decoder.decode(z, noise_of(seeds), settings, lambda *_: None)
    return torch.cat(embeds), images


def top1(checker: OpenClipChecker, images: list[Image.Image], concept: str) -> float:
    """The share of pictures that the judge calls by their own name among the twelve."""
    texts = checker.model.encode_text(checker.tokenizer([f"a photo of a {c}" for c in TWELVE]), normalize=True)
    return (checker.embed(images) @ texts.T).argmax(1).eq(TWELVE.index(concept)).float().mean().item()


def independent_judge(data: Path) -> tuple[Features, Probe]:
    """Eyes that neither made nor select anything here, taught the twelve concepts by the corpus's own pictures."""
    pictures, features, rng = Pictures.load(data, 128), Features(), np.random.default_rng(0)
    taught = {}
    for concept in TWELVE:
        rows = [i for i in pictures.train if pictures.families[i] == concept]
        chosen = rng.permutation(rows)[:TAUGHT].tolist()
        taught[concept] = features([Image.fromarray(pictures.rgb[i]) for i in chosen])
    return features, Probe.fit(taught)


def nearest(z: Tensor, bank: Tensor) -> float:
    """Median distance to the nearest embedding of the bank."""
    return torch.cdist(z.float(), bank.float()).min(1).values.median().item()


def spread(z: Tensor) -> float:
    """Median distance between two samples."""
    return torch.pdist(z.float()).median().item()


def rare(model: Kandinsky, checker: OpenClipChecker, concept: str) -> list[Image.Image]:
    """What a job of four pictures gives at 10 bits, from seed 0."""
    subject = Subject(concept, DEFAULT_PROMPT)
    density = fit_density(model, subject, samples=SAMPLES, seed=0, report=lambda *_: None)
    run = Run(model, density, checker, subject, GenerationConfig(10.0, seed=0, count=4))
    made = generate(run, lambda *_: None)
    return [output.image for output in made.outputs]


def grid(rows: list[list[Image.Image]]) -> Image.Image:
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * len(rows[0]), height * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * width, y * height))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "rarebit-mini")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--count", type=int, default=50)
    args = parser.parse_args()
    folder = args.checkpoint
    model = Kandinsky.load(str(folder / "prior"), str(folder / "decoder"), device="cpu", dtype=torch.float32)
    checker = OpenClipChecker.load(str(folder / "scorer"), device="cpu")
    features, probe = independent_judge(args.data)
    rows, scores, embeds = [], [], {}
    for concept in TWELVE:
        embeds[concept], images = draw(model, concept, args.count)
        rows.append(images[:4])
        seen = probe.classifier.predict(features(images)) == concept
        scores.append((top1(checker, images, concept), seen.mean()))
        validity, apart = checker.p_valid(images, concept).mean(), spread(embeds[concept])
        print(f"| {concept} | {scores[-1][0]:.0%} | {scores[-1][1]:.0%} | {validity:.2f} | {apart:.1f} |", flush=True)
    print("| mean | {:.1%} | {:.1%} |".format(*np.mean(scores, 0)))
    grid(rows).save(folder / "samples.webp", quality=90)
    grid([rare(model, checker, concept) for concept in TWELVE]).save(folder / "rare.webp", quality=90)
    compare(embeds, args.data, args.space)


def compare(embeds: dict[str, Tensor], data: Path, space: Path) -> None:
    """Nearest-neighbour distances: sample to training picture, against held-out picture to training picture."""
    pictures, index = Pictures.load(data, 64), np.load(space / "index.npy")
    z, held_out = torch.from_numpy(np.load(space / "z.npy")), np.isin(index, pictures.held_out)
    for concept, samples in embeds.items():
        own = np.array([family_of(pictures.records[i]) == concept for i in index])
        train, check = z[own & ~held_out], z[own & held_out]
        beside = f"{nearest(check, train):.2f}" if len(check) else "none held out"
        apart = spread(train[torch.randperm(len(train))[:300]])
        print(f"| {concept} | {nearest(samples, train):.2f} | {beside} | {apart:.1f} |")


if __name__ == "__main__":
    main()
