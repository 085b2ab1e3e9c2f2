"""Build the embedding space that the CLIP towers are distilled into, and embed every training picture in it.

Two small heads on frozen teachers (EfficientNet-lite0, MiniLM) learn by contrast of pictures and captions. The image
head must also reconstruct, linearly, the teacher's features and an 8×8 thumbnail, so that an embedding says what a
picture looks like and not only what it is called.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.checkpoints.corpus import Pictures, augment, colour_of
from deploy.checkpoints.teachers import ImageTeacher, TextTeacher, mlp

DIM = 128
STYLE_WORDS = {
    "flat": "flat icon",
    "emoji": "emoji",
    "3d": "3d render",
    "icon": "icon",
    "clipart": "drawing",
    "silhouette": "silhouette",
}


def build_variants(pictures: Pictures, generator: torch.Generator) -> dict[str, np.ndarray]:
    """Versions of every picture, the first as it is: pixels (n, 3, 64, 64) uint8, index, first.

    Ten of a drawing of the families, two of a render (which has views and colours already), one of the others.
    """
    families = zip(pictures.families, pictures.records, strict=True)
    index = np.repeat(np.arange(len(pictures)), [1 if not f else 2 if "model" in r else 10 for f, r in families])
    first = np.r_[True, index[1:] != index[:-1]]
    pixels = np.empty((len(index), 3, 64, 64), np.uint8)
    for start in range(0, len(index), 256):
        rows = slice(start, start + 256)
        plain = pictures.pixels(index[rows].tolist())
        keep = torch.from_numpy(first[rows])[:, None, None, None]
        batch = torch.where(keep, plain, augment(plain, generator))
        pixels[rows] = ((batch + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    return {"pixels": pixels, "index": index, "first": first}


def to_float(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).float() / 127.5 - 1


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
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--part", choices=("variants", "features", "heads"), default=None)
    parser.add_argument("--shard", default="0/1")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    pictures = Pictures.load(args.data)
    if args.part in (None, "variants"):
        arrays = build_variants(pictures, generator)
        for name, array in arrays.items():
            np.save(args.out / f"{name}.npy", array)
        print("variants", len(arrays["index"]), flush=True)
    if args.part in (None, "features"):
        part, parts = map(int, args.shard.split("/"))
        write_features(args.out, part, parts)
    if args.part in (None, "heads"):
        fit_space(pictures, args.out, args.steps, generator)


def write_features(out: Path, part: int, parts: int) -> None:
    pixels = np.load(out / "pixels.npy", mmap_mode="r")
    rows = np.array_split(np.arange(len(pixels)), parts)[part]
    teacher, done = ImageTeacher(), []
    for i, chunk in enumerate(np.array_split(rows, math.ceil(len(rows) / 64))):
        done.append(teacher(to_float(np.array(pixels[chunk]))).half())
        if i % 50 == 0:
            print(f"features {part}/{parts}: {64 * i} of {len(rows)}", flush=True)
    np.save(out / f"features-{part}of{parts}.npy", torch.cat(done).numpy())


def fit_space(pictures: Pictures, out: Path, steps: int, generator: torch.Generator) -> None:
    pixels, index, first = (np.load(out / f"{n}.npy", mmap_mode="r") for n in ("pixels", "index", "first"))
    parts = sorted(out.glob("features-*.npy"), key=lambda p: int(p.stem.split("-")[1].split("of")[0]))
    features = torch.from_numpy(np.concatenate([np.load(p) for p in parts])).float()
    small = torch.cat([thumbnails(to_float(np.array(pixels[i : i + 1024]))) for i in range(0, len(pixels), 1024)])
    colours = [colour_of(to_float(np.array(p))) for p in pixels]
    reads = torch.cat([whitened(features, 48), whitened(small, 48)], 1)
    image = torch.cat([features, 2 * small], 1)
    image = (image - image.mean(0)) / (image.std(0) + 1e-3)

    vocabulary: dict[str, int] = {}
    choices = [
        [vocabulary.setdefault(p, len(vocabulary)) for p in phrases(pictures.records[i], c)]
        for i, c in zip(index, colours, strict=True)
    ]
    teacher, words = TextTeacher(), list(vocabulary)
    texts = torch.cat([teacher(words[i : i + 256]) for i in range(0, len(words), 256)])

    held_out = set(pictures.held_out)
    rows = np.array([r for r, i in enumerate(index) if i not in held_out])
    counts = np.bincount(index)
    weights = torch.tensor([1 / counts[index[r]] * (3 if pictures.families[index[r]] else 1) for r in rows])
    heads = train_heads(image, reads, texts, choices, rows, weights, steps=steps, batch=768, generator=generator)
    with torch.no_grad():
        z = torch.cat([heads.embed_image(x) for x in image.split(4096)])
        t = torch.cat([heads.embed_text(x) for x in texts.split(4096)])
        check = np.array([r for r, i in enumerate(index) if i in held_out and first[r]])
        names = [pictures.records[index[r]]["name"] for r in check]
        t_names = t[[vocabulary[n] for n in names]]
        print(
            f"held out {len(names)} pictures, {len(set(names))} names: R@1 {recall(z[check], t_names, names, 1):.3f} "
            f"R@10 {recall(z[check], t_names, names, 10):.3f} "
            f"read-out R² {1 - F.mse_loss(heads.read(z[check]), reads[check]).item():.3f} (held out) "
            f"{1 - F.mse_loss(heads.read(z[rows[:4096]]), reads[rows[:4096]]).item():.3f} (train)",
            flush=True,
        )
    np.save(out / "z.npy", z.numpy())
    torch.save({"heads": heads.state_dict(), "words": words, "t": t, "choices": choices}, out / "space.pt")


if __name__ == "__main__":
    main()
