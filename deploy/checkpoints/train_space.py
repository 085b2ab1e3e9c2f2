"""Build the embedding space that the CLIP towers are distilled into, and embed every training picture in it.

Two small heads on frozen teachers (EfficientNet-lite0, MiniLM) learn by contrast of pictures and captions. The image
head must also reconstruct, linearly, the teacher's features and an 8×8 thumbnail, so that an embedding says what a
picture looks like and not only what it is called.
"""

import argparse
import math
import os
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.checkpoints import augment, pieces
from deploy.checkpoints.corpus import Pictures, colour_of
from deploy.checkpoints.teachers import ImageTeacher, TextTeacher, mlp

DIM = 128
EDGE = 128  # pixels, as the teacher sees them
STYLE_WORDS = {
    "flat": "flat icon",
    "emoji": "emoji",
    "3d": "3d render",
    "icon": "icon",
    "clipart": "drawing",
    "silhouette": "silhouette",
}


def draw_versions(pictures: Pictures, generator: torch.Generator) -> dict[str, np.ndarray]:
    """Versions of every picture: index of the picture, whether it is its first and plain one, parameters.

    Twelve of a drawing of a family, three of a family's render (which has views already), one of the others.
    """
    families = zip(pictures.families, pictures.records, strict=True)
    index = np.repeat(np.arange(len(pictures)), [1 if not f else 3 if "model" in r else 12 for f, r in families])
    first = np.r_[True, index[1:] != index[:-1]]
    drawn, plain = augment.draw_parameters(len(index), generator), augment.plain_parameters(len(index))
    parameters = torch.where(torch.from_numpy(first)[:, None], plain, drawn)
    return {"index": index, "first": first, "parameters": parameters.numpy()}


@cache
def image_teacher() -> ImageTeacher:
    """One in each process."""
    torch.set_num_threads(1)
    return ImageTeacher()


def features_of(data: Path, space: Path, rows: range) -> pieces.Arrays:
    """The teacher's features, thumbnails (both in float16) and colour words of versions."""
    pictures = Pictures.load(data, EDGE)
    index, parameters = (np.load(space / f"{name}.npy")[rows] for name in ("index", "parameters"))
    features, small, colours = [], [], []
    for batch in np.array_split(np.arange(len(rows)), -(-len(rows) // 64)):
        pixels = augment.apply(pictures.pixels(index[batch].tolist()), torch.from_numpy(parameters[batch]))
        features.append(image_teacher()(pixels, size=EDGE).half().numpy())
        small.append(thumbnails(pixels).half().numpy())
        colours += [colour_of(p) for p in F.avg_pool2d(pixels, 2)]
    return {"features": np.concatenate(features), "small": np.concatenate(small), "colours": np.array(colours)}


def thumbnails(pixels: Tensor) -> Tensor:
    """8×8 colour thumbnails, (batch, 192)."""
    return F.adaptive_avg_pool2d(pixels, 8).flatten(1)


def whitened(x: Tensor, rank: int) -> Tensor:
    """The first `rank` principal components of x (n, d), each of unit variance."""
    centred = x - x.mean(0)
    _, scale, axes = torch.pca_lowrank(centred, rank, center=False, niter=3)
    return centred @ axes * (math.sqrt(len(x)) / scale)


def phrases(record: dict, colour: str) -> list[str]:
    """What a picture may be called: plain, with its colour, with its style, by a keyword."""
    name, style = record["name"], STYLE_WORDS.get(record["style"], "picture")
    keywords = [k for k in record.get("keywords", []) if k and k != name][:3]
    return [name, name, f"{colour} {name}", f"{colour} {name}", f"{style} of a {name}", *keywords]


class Heads(nn.Module):
    """Embeddings of norm √128 from the teachers' features, and the linear read-outs that keep appearance in them."""

    def __init__(self, image_dim: int, reads: int) -> None:
        super().__init__()
        self.image = mlp((image_dim, 768, DIM))
        self.text = mlp((384, 768, DIM))
        self.read = nn.Linear(DIM, reads)
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def embed_image(self, features: Tensor) -> Tensor:
        return F.normalize(self.image(features), dim=-1) * math.sqrt(DIM)

    def embed_text(self, features: Tensor) -> Tensor:
        return F.normalize(self.text(features), dim=-1) * math.sqrt(DIM)


def contrast(z: Tensor, t: Tensor, group: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE in which all captions of the same text are positives of one another's pictures."""
    logits = scale.clamp(max=60) * F.normalize(z, dim=-1) @ F.normalize(t, dim=-1).T
    same = (group[:, None] == group[None]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_heads(
    image: Tensor,
    reads: Tensor,
    texts: Tensor,
    choices: list[list[int]],
    rows: np.ndarray,
    weights: Tensor,
    *,
    steps: int,
    batch: int,
    generator: torch.Generator,
) -> Heads:
    heads = Heads(image.shape[1], reads.shape[1])
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        picks = rows[torch.multinomial(weights, batch, replacement=True, generator=generator).numpy()]
        captions = torch.tensor([rng.choice(choices[i]) for i in picks])
        z, t = heads.embed_image(image[picks]), heads.embed_text(texts[captions])
        contrastive = contrast(z, t, captions, heads.log_scale.exp())
        rebuilt = F.mse_loss(heads.read(z), reads[picks])
        optimizer.zero_grad()
        (contrastive + 2 * rebuilt).backward()
        optimizer.step()
        scheduler.step()
        if step % 200 == 0:
            print(f"space {step} contrast {contrastive.item():.3f} rebuilt {rebuilt.item():.3f}", flush=True)
    return heads.eval()


@torch.no_grad()
def recall(z: Tensor, t: Tensor, names: list[str], k: int) -> float:
    """Share of the pictures whose own name is among the k nearest of all names."""
    unique = sorted(set(names))
    bank = torch.stack([t[names.index(n)] for n in unique])
    top = (F.normalize(z, dim=-1) @ F.normalize(bank, dim=-1).T).topk(k).indices
    target = torch.tensor([unique.index(n) for n in names])
    return (top == target[:, None]).any(1).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="resumed from when it holds features")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="for the teacher's features")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    pictures = Pictures.load(args.data, EDGE)
    versions = draw_versions(pictures, generator)
    for name, array in versions.items():
        np.save(args.out / f"{name}.npy", array)
    features = partial(features_of, args.data, args.out)
    seen = pieces.compute(args.out / "features", len(versions["index"]), features, args.processes)
    fit(pictures, versions, seen, args.out, args.steps, generator)


def fit(
    pictures: Pictures,
    versions: dict[str, np.ndarray],
    seen: pieces.Arrays,
    out: Path,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Train the heads and embed every version and phrase."""
    index, first = versions["index"], versions["first"]
    features, small = (torch.from_numpy(seen[name]).float() for name in ("features", "small"))
    reads = torch.cat([whitened(features, 48), whitened(small, 48)], 1)
    image = torch.cat([features, 2 * small], 1)
    image = (image - image.mean(0)) / (image.std(0) + 1e-3)
    words, choices, texts = captions_of(pictures, index, seen["colours"])

    held_out = np.isin(index, pictures.held_out)
    counts = np.bincount(index)
    weights = torch.tensor([(3 if pictures.families[i] else 1) / counts[i] for i in index[~held_out]])
    rows = np.flatnonzero(~held_out)
    heads = train_heads(image, reads, texts, choices, rows, weights, steps=steps, batch=768, generator=generator)
    with torch.no_grad():
        z = torch.cat([heads.embed_image(x) for x in image.split(4096)])
        t = torch.cat([heads.embed_text(x) for x in texts.split(4096)])
        check = np.flatnonzero(held_out & first)
        names = [pictures.records[i]["name"] for i in index[check]]
        own = t[[choices[row][0] for row in check]]
        explained = 1 - F.mse_loss(heads.read(z[check]), reads[check]).item()
    print(
        f"held out {len(names)} pictures, {len(set(names))} names: R@1 {recall(z[check], own, names, 1):.3f} "
        f"R@10 {recall(z[check], own, names, 10):.3f} read-out R² {explained:.3f}"
    )
    torch.save({"heads": heads.state_dict(), "words": words, "t": t, "choices": choices}, out / "space.pt")
    np.save(out / "z.npy", z.numpy())


def captions_of(
    pictures: Pictures, index: np.ndarray, colours: np.ndarray
) -> tuple[list[str], list[list[int]], Tensor]:
    """All phrases, those of each version (its name first), and the teacher's features of them (phrases, 384)."""
    vocabulary: dict[str, int] = {}
    choices = [
        [vocabulary.setdefault(p, len(vocabulary)) for p in phrases(pictures.records[i], str(c))]
        for i, c in zip(index, colours, strict=True)
    ]
    teacher, words = TextTeacher(), list(vocabulary)
    return words, choices, torch.cat([teacher(words[i : i + 256]) for i in range(0, len(words), 256)])


if __name__ == "__main__":
    main()
