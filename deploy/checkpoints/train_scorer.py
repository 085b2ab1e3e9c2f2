"""Train the judge of validity: a small open_clip model, a ResNet from scratch, apart from everything the loss sees.

It learns from the pictures and their names alone, without the teachers of the CLIP towers, and has a word for failure:
scrambled, mixed and empty pictures are "nothing recognisable".
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from deploy.checkpoints.corpus import DEVICE, FAMILIES, Pictures, augment
from deploy.checkpoints.train_prior import picture_weights

MODEL = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 24, "head_width": 48, "patch_size": None},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 2},
}
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": [64, 64], "interpolation": "bicubic"}
NOTHING = "nothing recognisable"
TEMPLATES = ("a photo of a {}", "{}")


def build(folder: Path) -> tuple[torch.nn.Module, open_clip.SimpleTokenizer]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}, indent=2)
    )
    (folder / "nouns.json").write_text(json.dumps({"nouns": sorted(FAMILIES), "nothing": NOTHING}, indent=2))
    model = open_clip.CLIP(
        **{
            **MODEL,
            "vision_cfg": open_clip.CLIPVisionCfg(**MODEL["vision_cfg"]),
            "text_cfg": open_clip.CLIPTextCfg(**MODEL["text_cfg"]),
        }
    )
    return model, open_clip.SimpleTokenizer(context_length=32)


def wrecked(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures of nothing: a third scrambled in 16-pixel blocks, a third mixed of three, a third smooth noise."""
    n = len(pixels)
    blocks = F.unfold(pixels, 16, stride=16).transpose(1, 2)
    scrambled = F.fold(blocks[:, torch.randperm(16, generator=generator)].transpose(1, 2), (64, 64), 16, stride=16)
    mixed = (pixels + pixels.roll(1, 0) + pixels.roll(2, 0).flip(2)) / 3
    noise = F.interpolate(torch.randn(n, 3, 8, 8, generator=generator), size=64, mode="bicubic").clamp(-1, 1)
    kind = torch.randint(3, (n, 1, 1, 1), generator=generator)
    return torch.where(kind == 0, scrambled, torch.where(kind == 1, mixed, noise))


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures a little blurred and noisy, as a small decoder's are."""
    strength = torch.rand(len(pixels), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noise = 0.08 * strength * torch.randn(pixels.shape, generator=generator)
    soft = (1 - strength) * pixels + strength * blurred + noise
    return torch.where(torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5, soft.clamp(-1, 1), pixels)


def family_logits(model: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, z: Tensor) -> Tensor:
    """Scaled cosines (batch, families + 1) to "a photo of a {family}" and to the words for failure."""
    t = F.normalize(
        model.encode_text(tokenizer([TEMPLATES[0].format(f) for f in [*FAMILIES, NOTHING]]).to(z.device)), dim=-1
    )
    return model.logit_scale.exp().clamp(max=60) * z @ t.T


def loss_of(
    model: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, pixels: Tensor, captions: list[str], labels: Tensor
) -> Tensor:
    """Contrast of pictures with captions (equal captions are all positives) and with the nouns of the families."""
    z = F.normalize(model.encode_image(pixels.to(DEVICE)), dim=-1)
    t = F.normalize(model.encode_text(tokenizer(captions).to(DEVICE)), dim=-1)
    logits = model.logit_scale.exp().clamp(max=60) * z @ t.T
    ids = {c: i for i, c in enumerate(dict.fromkeys(captions))}
    group = torch.tensor([ids[c] for c in captions], device=DEVICE)
    target = (group[:, None] == group[None]).float()
    target = target / target.sum(1, keepdim=True)
    contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return contrast + F.cross_entropy(
        family_logits(model, tokenizer, z), labels.to(DEVICE), ignore_index=-100, label_smoothing=0.05
    )


@torch.no_grad()
def accuracy(model: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, pictures: Pictures) -> float:
    """Zero-shot top-1 among all families on pictures of held-out objects, families alike."""
    rows = [i for i in pictures.held_out if pictures.families[i]]
    model.eval()
    z = torch.cat(
        [
            F.normalize(model.encode_image(pictures.pixels(rows[i : i + 128]).to(DEVICE)), dim=-1)
            for i in range(0, len(rows), 128)
        ]
    )
    right = family_logits(model, tokenizer, z).argmax(1)
    model.train()
    names = list(FAMILIES)
    by_family = {
        f: [int(right[k] == names.index(f)) for k, i in enumerate(rows) if pictures.families[i] == f] for f in names
    }
    return float(np.mean([np.mean(v) for v in by_family.values() if v]))


def train(
    model: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, pictures: Pictures, args: argparse.Namespace
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05, betas=(0.9, 0.98))
    generator, rng = torch.Generator().manual_seed(args.seed), np.random.default_rng(args.seed)
    train_rows = np.array(pictures.train)
    weights = torch.from_numpy(picture_weights(pictures, train_rows, 0.75))
    names, start, step = list(FAMILIES), time.time(), 0
    while (done := (time.time() - start) / (60 * args.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1, (step + 1) / 100) * (1 + math.cos(math.pi * done)) / 2
        rows = train_rows[
            torch.multinomial(weights, args.batch, replacement=True, generator=generator).numpy()
        ].tolist()
        pixels = soften(augment(pictures.pixels(rows), generator), generator)
        families = [pictures.families[i] for i in rows]
        nouns = [
            f if f and rng.random() < 0.6 else pictures.records[i]["name"] for i, f in zip(rows, families, strict=True)
        ]
        bad = args.batch // 12
        pixels[:bad], nouns[:bad] = wrecked(pixels[:bad], generator), [NOTHING] * bad
        labels = torch.tensor([names.index(f) if f else -100 for f in families])
        labels[:bad] = len(names)
        captions = [str(rng.choice(TEMPLATES)).format(n) for n in nouns]
        loss = loss_of(model, tokenizer, pixels, captions, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(
                f"scorer {step} {done * args.minutes:.1f} min loss {loss.item():.3f} "
                f"held-out top-1 {accuracy(model, tokenizer, pictures):.3f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model, tokenizer = build(args.out)
    weights = args.out / "open_clip_model.safetensors"
    if weights.exists():
        model.load_state_dict(load_file(weights))
    train(model.to(DEVICE), tokenizer, Pictures.load(args.data), args)
    held_out = accuracy(model, tokenizer, Pictures.load(args.data))
    save_file(
        {k: v.half().cpu().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}, weights
    )
    print(f"scorer done: held-out top-1 {held_out:.3f}", flush=True)


if __name__ == "__main__":
    main()
