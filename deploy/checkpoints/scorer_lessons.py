"""What the judge learns from: versions of all pictures with their names, wrecked pictures, and words beside them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from deploy.checkpoints import augment
from deploy.checkpoints.corpus import DEVICE, FAMILIES, HUES, Pictures, picture_weights
from deploy.checkpoints.scorer import early
from deploy.checkpoints.teachers import TextTeacher

NOTHING, WRECKS = "nothing recognisable", 6000
BATCH, CHUNK = 256, 64


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures blurred and a little noisy, as a small decoder's are."""
    strength = torch.rand(len(pixels), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(pixels, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    noise = 0.05 * strength * torch.randn(pixels.shape, generator=generator)
    soft = (1 - strength) * pixels + strength * blurred + noise
    return torch.where(torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5, soft.clamp(-1, 1), pixels)


def wrecked(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures of nothing: blocks scrambled, three laid over one another, two blended, halves joined, blobs, noise."""
    n, edge = len(pixels), pixels.shape[-1]
    block = edge // 4
    blocks = F.unfold(pixels, block, stride=block).transpose(1, 2)
    order = torch.randperm(16, generator=generator)
    scrambled = F.fold(blocks[:, order].transpose(1, 2), (edge, edge), block, stride=block)
    mixed = (pixels + pixels.roll(1, 0) + pixels.roll(2, 0).flip(2)) / 3
    blended = (pixels + pixels.roll(3, 0)) / 2
    joined = torch.cat([pixels[..., : edge // 2], pixels.roll(4, 0).flip(2)[..., edge // 2 :]], -1)
    blob = F.interpolate(F.avg_pool2d(pixels, edge // 4), size=edge, mode="bicubic")
    blob = torch.where(F.interpolate(blob.mean(1, keepdim=True), size=edge) < 0.6, blob, torch.ones_like(blob))
    noise = F.interpolate(torch.randn(n, 3, 8, 8, generator=generator), size=edge, mode="bicubic")
    kinds = torch.stack([scrambled, mixed, blended, joined, blob, noise]).clamp(-1, 1)
    return kinds[torch.randint(len(kinds), (n,), generator=generator), torch.arange(n)]


@torch.no_grad()
def load_maps(model: open_clip.CLIP, pictures: Pictures, space: Path, path: Path) -> np.ndarray:
    """The early maps of every version of the space, softened, and of WRECKS wrecks after them; kept in a file."""
    if not path.exists():
        index, parameters = np.load(space / "index.npy"), torch.from_numpy(np.load(space / "parameters.npy"))
        wrecks = np.random.default_rng(7).integers(len(index), size=WRECKS)
        rows, part = np.concatenate([np.arange(len(index)), wrecks]), path.with_suffix(".part")
        maps = np.lib.format.open_memmap(part, "w+", np.float16, (len(rows), 192, 4, 4))
        for start in range(0, len(rows), CHUNK):
            chunk, generator = rows[start : start + CHUNK], torch.Generator().manual_seed(start)
            pixels = augment.apply(pictures.pixels(index[chunk].tolist()), parameters[chunk])
            pixels = (soften if start + CHUNK <= len(index) else wrecked)(pixels, generator)
            maps[start : start + CHUNK] = early(model, pixels.to(DEVICE)).half().cpu().numpy()
            if start % (100 * CHUNK) == 0:
                print(f"maps {start} of {len(rows)}", flush=True)
        part.replace(path)
    return np.load(path, mmap_mode="r")


@dataclass(frozen=True)
class Phrases:
    """Everything that a picture may be called and what beside it a text may say, with the sentence encoder's features.

    `names` are the phrases that name pictures, then the families, then NOTHING; `choices` has the phrases of each
    version of a picture, its name first.
    """

    texts: list[str]
    features: Tensor
    names: list[int]
    choices: list[list[int]]

    @classmethod
    def load(cls, space: Path, cache: Path) -> "Phrases":
        """Those of the space, with the families, NOTHING and words that no caption has."""
        saved = torch.load(space / "space.pt", weights_only=True)
        texts = list(dict.fromkeys([*saved["words"], *FAMILIES, NOTHING, *beside()]))
        if not cache.exists():
            teacher = TextTeacher()
            parts = [teacher(texts[i : i + 256]) for i in range(0, len(texts), 256)]
            np.save(cache, torch.cat(parts).numpy())
        last = [texts.index(name) for name in (*FAMILIES, NOTHING)]
        names = [*sorted({choices[0] for choices in saved["choices"]} - set(last)), *last]
        return cls(texts, torch.from_numpy(np.load(cache)), names, saved["choices"])


def beside() -> list[str]:
    """Whole words of CLIP's vocabulary, and colours with the families' nouns."""
    encoder = open_clip.SimpleTokenizer().encoder
    words = [w[:-4] for w in encoder if w.endswith("</w>") and w[:-4].isascii() and w[:-4].isalpha() and len(w) > 6]
    nouns = [noun for family, more in FAMILIES.items() for noun in (family, *more.split())]
    return words[:8000] + [f"{colour} {noun}" for _, colour in HUES for noun in nouns]


@dataclass(frozen=True)
class Split:
    """Which versions of pictures teach, and which pictures, as they are, only test.

    Of names with three drawings or more one drawing tests, beside what the corpus holds out: those show what is known
    of a name that was seen, these what is known of one that was not.
    """

    train: np.ndarray
    seen: np.ndarray
    unseen: np.ndarray

    @classmethod
    def of(cls, pictures: Pictures, index: np.ndarray, first: np.ndarray) -> "Split":
        by_name: dict[str, list[int]] = {}
        for i, record in enumerate(pictures.records):
            if "model" not in record:
                by_name.setdefault(record["name"], []).append(i)
        last = {rows[-1] for rows in by_name.values() if len(rows) > 2}
        tests = last | set(pictures.held_out)
        taught = {r["name"] for i, r in enumerate(pictures.records) if i not in tests}
        named = np.array([pictures.records[i]["name"] in taught for i in index])
        testing = np.isin(index, list(tests))
        return cls(*map(np.flatnonzero, (~testing, testing & first & named, testing & first & ~named)))


@dataclass(frozen=True)
class Lesson:
    """Maps of versions, then of wrecks; of each version its name, family and captions, as positions in the phrases."""

    maps: np.ndarray
    names: np.ndarray
    families: np.ndarray
    phrases: Phrases
    rows: np.ndarray
    weights: Tensor

    @classmethod
    def of(
        cls, maps: np.ndarray, pictures: Pictures, index: np.ndarray, rows: np.ndarray, phrases: Phrases
    ) -> "Lesson":
        position = {phrase: i for i, phrase in enumerate(phrases.names)}
        names = np.array([position[choices[0]] for choices in phrases.choices])
        order = {family: i for i, family in enumerate(FAMILIES)}
        families = np.array([order.get(pictures.families[i] or "", -100) for i in index])
        weights = torch.from_numpy(picture_weights(pictures, index[rows], 0.6))
        return cls(maps, names, families, phrases, rows, weights)

    def batch(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps, and the positions of name, family and caption; one picture in ten is a wreck."""
        rows = self.rows[torch.multinomial(self.weights, BATCH, replacement=True, generator=generator).numpy()]
        names, families = self.names[rows], self.families[rows]
        captions = np.array([rng.choice(self.phrases.choices[row]) for row in rows])
        bad, nothing = BATCH // 10, len(self.phrases.names) - 1
        rows[:bad] = rng.integers(len(self.names), len(self.maps), size=bad)
        names[:bad], families[:bad], captions[:bad] = nothing, len(FAMILIES), self.phrases.names[nothing]
        maps = torch.from_numpy(self.maps[rows]).float().to(DEVICE)
        return maps, *(torch.from_numpy(positions).to(DEVICE) for positions in (names, families, captions))
