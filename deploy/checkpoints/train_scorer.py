"""Train the judge of validity: an open_clip model that knows the names of all pictures, and which of them it can tell.

Its image tower is EfficientNet-lite0 (ImageNet, Apache-2.0): the stages that are kept as they are run once over every
version of the pictures, the last ones and the projection learn. Its text tower is small and learns twice, to say what
the sentence encoder all-MiniLM-L6-v2 (MIT) makes of a phrase, and to find the pictures. Scrambled, mixed and blended
pictures, halves of two things and blobs are "nothing recognisable".
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.checkpoints.corpus import DEVICE, FAMILIES, Pictures
from deploy.checkpoints.scorer import (
    CONTEXT,
    DIM,
    EDGE,
    MODEL,
    TEMPLATES,
    build,
    embed_maps,
    embed_texts,
    late,
    learnt_stages,
)
from deploy.checkpoints.scorer_lessons import BATCH, Lesson, Phrases, Split, load_maps
from deploy.checkpoints.teachers import TextTeacher, mlp
from deploy.checkpoints.train_space import contrast

RIVALS = 1500  # names beside the batch's own
SHOWN = 40  # batches of pictures that the text tower learns from
SCALE = torch.tensor(20.0)  # of cosines, in training; what it is afterwards is found on pictures that are held out


def rate(done: float, step: int) -> float:
    """Of the highest learning rate: a warm-up of 50 steps, then half a cosine."""
    return min(1, (step + 1) / 50) * (1 + math.cos(math.pi * done)) / 2


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    """One step, the gradient's norm cut at 1."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()


def train_images(
    model: open_clip.CLIP, text: nn.Module, lesson: Lesson, tests: dict[str, np.ndarray], minutes: float
) -> None:
    """Names, families and captions, said by `text`, a head on the sentence encoder, in the text tower's place.

    Cross-entropy among RIVALS of all names and among the families and nothing, and contrast with captions.
    """
    parameters = [*learnt_stages(model).requires_grad_(True).parameters(), *text.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.05, betas=(0.9, 0.98))
    features, phrases = lesson.phrases.features.to(DEVICE), lesson.phrases
    rng, generator, start, step = np.random.default_rng(7), torch.Generator().manual_seed(7), time.time(), 0
    last = torch.arange(len(phrases.names) - len(FAMILIES) - 1, len(phrases.names))
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        maps, names, families, captions = lesson.batch(rng, generator)
        z = late(model, maps)
        others = torch.from_numpy(rng.integers(len(phrases.names), size=RIVALS))
        rivals = torch.cat([torch.cat([names.cpu(), others]).unique(), last])
        bank = features[torch.tensor(phrases.names)[rivals]]
        logits = z @ F.normalize(text(bank), dim=-1).T * SCALE
        own = (rivals.to(DEVICE) == names[:, None]).float()
        loss = F.cross_entropy(logits, own / own.sum(1, keepdim=True), label_smoothing=0.05)
        kinds = logits[:, -len(last) :]
        loss = loss + F.cross_entropy(kinds, families, ignore_index=-100, label_smoothing=0.05)
        loss = loss + contrast(z, text(features[captions]), captions, SCALE)
        descend(optimizer, loss, 1e-3 * rate(done, step))
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
        z = embed_maps(model, lesson.maps, rows)
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
def shown(model: open_clip.CLIP, lesson: Lesson) -> tuple[Tensor, Tensor, Tensor]:
    """What the finished image tower makes of SHOWN batches (n, 128), with the phrases of their names and families."""
    rng, generator = np.random.default_rng(9), torch.Generator().manual_seed(9)
    drawn = [lesson.batch(rng, generator) for _ in range(SHOWN)]
    z = torch.cat([late(model, maps) for maps, *_ in drawn])
    names, families = (torch.cat([batch[place] for batch in drawn]) for place in (1, 2))
    return z, torch.tensor(lesson.phrases.names, device=DEVICE)[names], families


def train_text(model: open_clip.CLIP, targets: Tensor, lesson: Lesson, minutes: float) -> None:
    """The text tower: the head's embedding of every phrase (n, 128), half of them names, and not that of another; and
    what finds the pictures, by their names and by their families."""
    phrases, tokenizer = lesson.phrases, open_clip.SimpleTokenizer(context_length=CONTEXT)
    z, called, families = shown(model, lesson)
    parameters = [p for name, p in model.named_parameters() if not name.startswith(("visual", "logit"))]
    optimizer = torch.optim.AdamW([p.requires_grad_(True) for p in parameters], weight_decay=0.01)
    rng, start, step = np.random.default_rng(8), time.time(), 0
    kinds = np.array(phrases.names[-len(FAMILIES) - 1 :])
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        rows = torch.from_numpy(rng.integers(len(z), size=BATCH)).to(DEVICE)
        others = [rng.choice(phrases.names, BATCH // 2), rng.integers(len(phrases.texts), size=BATCH // 2)]
        drawn = torch.cat([called[rows].cpu(), torch.from_numpy(np.concatenate([*others, kinds]))]).to(DEVICE)
        texts = [str(rng.choice(TEMPLATES, p=[0.8, 0.2])).format(phrases.texts[i]) for i in drawn.tolist()]
        t = model.encode_text(tokenizer(texts).to(DEVICE), normalize=True)
        near = (1 - (t * targets[drawn]).sum(-1)).mean()
        kind = F.cross_entropy(z[rows] @ t[-len(kinds) :].T * SCALE, families[rows], ignore_index=-100)
        loss = (
            2 * near
            + contrast(t, targets[drawn], drawn, SCALE)
            + contrast(z[rows], t[:BATCH], drawn[:BATCH], SCALE)
            + kind
        )
        descend(optimizer, loss, 3e-3 * rate(done, step))
        step += 1
        if step % 50 == 0:
            minute = done * minutes
            print(f"text {step} {minute:.1f} min loss {loss.item():.3f} cosine {1 - near.item():.3f}", flush=True)


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
