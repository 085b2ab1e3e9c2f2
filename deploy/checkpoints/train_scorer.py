"""Train the judge of validity: an open_clip model that knows the names of all pictures, and which of them it can tell.

Its image tower is EfficientNet-lite0 (ImageNet, Apache-2.0): the stages that are kept as they are run once over every
version of the pictures, the last ones and the projection learn. Its text tower is small and learns twice, to say what
the sentence encoder all-MiniLM-L6-v2 (MIT) makes of a phrase, and to find the pictures. Scrambled, mixed and blended
pictures, halves of two things and blobs are "nothing recognisable".
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.checkpoints import augment
from deploy.checkpoints.corpus import DEVICE, FAMILIES, HUES, Pictures, picture_weights
from deploy.checkpoints.teachers import TextTeacher, image_weights, mlp

EDGE, DIM, CONTEXT = 128, 128, 32
MODEL = {
    "embed_dim": DIM,
    "vision_cfg": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": EDGE,
    },
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 40, "heads": 2, "layers": 3},
}
PREPROCESS = {
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "size": [EDGE, EDGE],
    "interpolation": "bicubic",
}
KEPT_STAGES = 6  # of the tower's seven: their maps, (192, 4, 4), are what is cached
NOTHING, WRECKS = "nothing recognisable", 6000
TEMPLATES = ("a photo of a {}", "{}")
BATCH, CHUNK, RIVALS = 256, 64, 1500
SHOWN = 40  # batches of pictures that the text tower learns from
TEMPERATURE = 0.05  # of cosines, in training; what it is afterwards is found on pictures that are held out


def build(folder: Path) -> open_clip.CLIP:
    """The model that open_clip makes of the folder, its image tower with ImageNet's weights."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    model = open_clip.CLIP(**MODEL | {"text_cfg": open_clip.CLIPTextCfg(**MODEL["text_cfg"])})
    trunk = model.visual.trunk  # the same layers in the same order, by other names
    weights = [value for name, value in image_weights().items() if not name.startswith("_fc")]
    trunk.load_state_dict(dict(zip(trunk.state_dict(), weights, strict=True)))
    return model.eval().to(DEVICE)


def early(model: open_clip.CLIP, pixels: Tensor) -> Tensor:
    """What the kept stages see, (batch, 192, 4, 4), of pixels in [−1, 1]."""
    mean, std = (torch.tensor(PREPROCESS[name], device=pixels.device)[:, None, None] for name in ("mean", "std"))
    trunk = model.visual.trunk
    x = trunk.bn1(trunk.conv_stem(((pixels + 1) / 2 - mean) / std))
    return trunk.blocks[:KEPT_STAGES](x)


def late(model: open_clip.CLIP, maps: Tensor) -> Tensor:
    """Unit embeddings (batch, 128) of what the kept stages saw."""
    trunk = model.visual.trunk
    x = trunk.forward_head(trunk.bn2(trunk.conv_head(trunk.blocks[KEPT_STAGES:](maps))))
    return F.normalize(model.visual.head(x), dim=-1)


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


def rate(done: float, step: int) -> float:
    return min(1, (step + 1) / 50) * (1 + math.cos(math.pi * done)) / 2


def contrast(z: Tensor, t: Tensor, captions: Tensor) -> Tensor:
    """Symmetric InfoNCE in which all equal captions are positives."""
    logits, same = z @ t.T / TEMPERATURE, (captions[:, None] == captions[None]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def learnt_stages(model: open_clip.CLIP) -> nn.ModuleList:
    trunk = model.visual.trunk
    return nn.ModuleList([trunk.blocks[KEPT_STAGES:], trunk.conv_head, trunk.bn2, model.visual.head])


def train_images(
    model: open_clip.CLIP, text: nn.Module, lesson: Lesson, tests: dict[str, np.ndarray], minutes: float
) -> None:
    """Names, families and captions, said by `text`, a head on the sentence encoder, in the text tower's place.

    Cross-entropy among RIVALS of all names and among the families and nothing, and contrast with captions.
    """
    parameters = [*learnt_stages(model).requires_grad_(True).parameters(), *text.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    features, phrases = lesson.phrases.features.to(DEVICE), lesson.phrases
    rng, generator, start, step = np.random.default_rng(7), torch.Generator().manual_seed(7), time.time(), 0
    last = torch.arange(len(phrases.names) - len(FAMILIES) - 1, len(phrases.names))
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate(done, step)
        maps, names, families, captions = lesson.batch(rng, generator)
        z = late(model, maps)
        others = torch.from_numpy(rng.integers(len(phrases.names), size=RIVALS))
        rivals = torch.cat([torch.cat([names.cpu(), others]).unique(), last])
        bank = features[torch.tensor(phrases.names)[rivals]]
        logits = z @ F.normalize(text(bank), dim=-1).T / TEMPERATURE
        own = (rivals.to(DEVICE) == names[:, None]).float()
        loss = F.cross_entropy(logits, own / own.sum(1, keepdim=True), label_smoothing=0.05)
        kinds = logits[:, -len(last) :]
        loss = loss + F.cross_entropy(kinds, families, ignore_index=-100, label_smoothing=0.05)
        loss = loss + contrast(z, F.normalize(text(features[captions]), dim=-1), captions)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            found = recalls(model, F.normalize(text.eval()(features[phrases.names]), dim=-1), lesson, tests)
            text.train()
            print(f"scorer {step} {done * minutes:.1f} min loss {loss.item():.3f} {found}", flush=True)


@torch.no_grad()
def recalls(model: open_clip.CLIP, bank: Tensor, lesson: Lesson, tests: dict[str, np.ndarray]) -> str:
    """Of pictures that test: own name first (among ten) of all names; own family first of the families."""
    found = []
    for kind, rows in tests.items():
        z = torch.cat(
            [late(model, torch.from_numpy(lesson.maps[part]).float().to(DEVICE)) for part in np.array_split(rows, 16)]
        )
        names, families = (torch.from_numpy(v[rows]).to(DEVICE) for v in (lesson.names, lesson.families))
        hits = (z @ bank.T).topk(10).indices == names[:, None]
        kinds = (z @ bank[-len(FAMILIES) - 1 :].T).argmax(1) == families
        own = kinds[families >= 0].float().mean()
        found.append(f"{kind}: {hits[:, 0].float().mean():.3f} ({hits.any(1).float().mean():.3f}), family {own:.3f}")
    return "; ".join(found)


@torch.no_grad()
def start_tokens(model: open_clip.CLIP, teacher: TextTeacher) -> None:
    """A token's first embedding: the principal components of what the sentence encoder makes of its letters."""
    encoder = open_clip.SimpleTokenizer().encoder
    words = [token.replace("</w>", "") for token in encoder]
    features = torch.cat([teacher(words[i : i + 512]) for i in range(0, len(words), 512)])
    width = MODEL["text_cfg"]["width"]
    axes = torch.pca_lowrank(features, width, niter=3)[2]
    rows = (features - features.mean(0)) @ axes
    rows = rows / rows.std() * 0.05
    model.token_embedding.weight.copy_(rows + 0.01 * torch.randn(rows.shape))


@torch.no_grad()
def embedded(model: open_clip.CLIP, lesson: Lesson, batches: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the finished image tower makes of some batches (n, 128), with the phrases of their names and families."""
    rng, generator = np.random.default_rng(9), torch.Generator().manual_seed(9)
    drawn = [lesson.batch(rng, generator) for _ in range(batches)]
    z = torch.cat([late(model, maps) for maps, *_ in drawn])
    names, families = (torch.cat([batch[place] for batch in drawn]) for place in (1, 2))
    return z, torch.tensor(lesson.phrases.names, device=DEVICE)[names], families


def train_text(model: open_clip.CLIP, targets: Tensor, lesson: Lesson, minutes: float) -> None:
    """The text tower: the head's embedding of every phrase (n, 128), half of them names, and not that of another; and
    what finds the pictures, by their names and by their families."""
    phrases, tokenizer = lesson.phrases, open_clip.SimpleTokenizer(context_length=CONTEXT)
    z, called, families = embedded(model, lesson, SHOWN)
    parameters = [p for name, p in model.named_parameters() if not name.startswith(("visual", "logit"))]
    optimizer = torch.optim.AdamW([p.requires_grad_(True) for p in parameters], lr=3e-3, weight_decay=0.01)
    rng, start, step = np.random.default_rng(8), time.time(), 0
    kinds = np.array(phrases.names[-len(FAMILIES) - 1 :])
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * rate(done, step)
        shown = torch.from_numpy(rng.integers(len(z), size=BATCH)).to(DEVICE)
        others = [rng.choice(phrases.names, BATCH // 2), rng.integers(len(phrases.texts), size=BATCH // 2)]
        drawn = torch.cat([called[shown].cpu(), torch.from_numpy(np.concatenate([*others, kinds]))]).to(DEVICE)
        texts = [str(rng.choice(TEMPLATES, p=[0.8, 0.2])).format(phrases.texts[i]) for i in drawn.tolist()]
        t = model.encode_text(tokenizer(texts).to(DEVICE), normalize=True)
        near = (1 - (t * targets[drawn]).sum(-1)).mean()
        kind = F.cross_entropy(z[shown] @ t[-len(kinds) :].T / TEMPERATURE, families[shown], ignore_index=-100)
        loss = 2 * near + contrast(t, targets[drawn], drawn) + contrast(z[shown], t[:BATCH], drawn[:BATCH]) + kind
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            minute = done * minutes
            print(f"text {step} {minute:.1f} min loss {loss.item():.3f} cosine {1 - near.item():.3f}", flush=True)


@torch.no_grad()
def embed_texts(model: open_clip.CLIP, texts: list[str]) -> Tensor:
    """Unit embeddings of nouns in the first template."""
    tokens = open_clip.SimpleTokenizer(context_length=CONTEXT)([TEMPLATES[0].format(text) for text in texts])
    return torch.cat([model.encode_text(part.to(DEVICE), normalize=True) for part in tokens.split(512)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20, help="three in five for the image tower")
    args = parser.parse_args()
    torch.manual_seed(7)
    model, pictures = build(args.out), Pictures.load(args.data, EDGE)
    index, first = (np.load(args.space / f"{name}.npy") for name in ("index", "first"))
    phrases, split = Phrases.load(args.space, args.out / "text.npy"), Split.of(pictures, index, first)
    maps = load_maps(model, pictures, args.space, args.out / "maps.npy")
    lesson = Lesson.of(maps, pictures, index, split.train, phrases)
    text = mlp((384, 768, DIM)).to(DEVICE)
    tests = {"names it saw": split.seen, "names it did not": split.unseen}
    print({name: len(rows) for name, rows in tests.items()}, len(split.train), flush=True)
    train_images(model, text, lesson, tests, 0.6 * args.minutes)
    learnt_stages(model).requires_grad_(False)
    torch.save({"model": model.state_dict(), "text": text.state_dict()}, args.out / "images.pt")
    with torch.no_grad():
        targets = F.normalize(text.eval()(phrases.features.to(DEVICE)), dim=-1)
    start_tokens(model, TextTeacher())
    train_text(model, targets, lesson, 0.4 * args.minutes)
    print(
        "by the text tower:",
        recalls(model, embed_texts(model, [phrases.texts[i] for i in phrases.names]), lesson, tests),
    )
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file({k: v.cpu().contiguous() for k, v in state.items()}, args.out / "open_clip_model.safetensors")


if __name__ == "__main__":
    main()
