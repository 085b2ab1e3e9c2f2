"""Train the CLIP vision encoder against the finished space, prior and decoder: a picture back to its embedding.

Two lessons at once. Of the corpus: every version's embedding is known from the space. Of pairs: the prior draws
embeddings, the decoder their pictures, and the encoder answers with the embedding.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from deploy.checkpoints import augment
from deploy.checkpoints.corpus import DEVICE, FAMILIES, TEMPLATES, Pictures, picture_weights
from deploy.checkpoints.run import learning_rate
from deploy.checkpoints.train_space import DIM
from services.diffusion.kandinsky.decoder import DecodeSettings
from services.diffusion.kandinsky.model import Kandinsky

EDGE = 64
CONFIG = CLIPVisionConfig(
    image_size=EDGE,
    patch_size=8,
    hidden_size=128,
    intermediate_size=512,
    num_hidden_layers=4,
    num_attention_heads=4,
    projection_dim=DIM,
    hidden_act="quick_gelu",
)
# CLIP's own normalisation of pixels, as the image processor applies it.
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "black", "white", "grey")
KINDS = ("wooden", "metal", "glass", "plastic", "leather", "modern", "old", "small", "tall", "round", "striped")
PROMPTS, PER_PROMPT = 75, 16
CHECKED = 256  # held-out pairs, and held-out pictures
DRAWING = DecodeSettings(size=256, num_inference_steps=6, guidance_scale=1.0)


def embed(model: CLIPVisionModelWithProjection, pixels: Tensor) -> Tensor:
    """Embeddings (batch, 128) of pixels (batch, 3, 64, 64) in [−1, 1]."""
    return model((((pixels + 1) / 2 - MEAN) / STD).to(model.device)).image_embeds


@dataclass
class Pairs:
    """Decoded pictures (n, 3, 64, 64) uint8 and the embeddings (n, 128) that they were decoded from."""

    pixels: Tensor
    z: Tensor

    @classmethod
    def draw(cls, model: Kandinsky, seeds: range) -> "Pairs":
        """PER_PROMPT pictures of each seed's random prompt."""
        pixels, embeddings = [], []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            z = stretched(draw_embeddings(model, caption(np.random.default_rng(seed)), generator), generator)
            images = model.decoder.decode(z, generator, DRAWING, lambda *_: None)
            pixels += [np.asarray(image.resize((EDGE, EDGE), Image.Resampling.BICUBIC)) for image in images]
            embeddings.append(z.cpu())
            if seed % 10 == 0:
                print(f"pairs of prompt {seed} of {seeds}", flush=True)
        return cls(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), torch.cat(embeddings))

    @classmethod
    def load(cls, path: Path) -> "Pairs":
        return cls(*(torch.from_numpy(np.load(path)[name]) for name in ("pixels", "z")))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, pixels=self.pixels.numpy(), z=self.z.numpy())

    def draw_batch(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """All but the first CHECKED, which are held out."""
        return self.rows(torch.randint(CHECKED, len(self.z), (batch,), generator=generator))

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in [−1, 1] and embeddings of the rows."""
        return self.pixels[index].float() / 127.5 - 1, self.z[index].to(DEVICE)


def caption(rng: np.random.Generator) -> str:
    """A family or another of its words, mostly with a colour, a material or a shape, in a template."""
    family = str(rng.choice(list(FAMILIES)))
    noun = family if rng.random() < 0.6 else str(rng.choice(FAMILIES[family].split()))
    look = f"{rng.choice(COLOURS + KINDS)} " if rng.random() < 0.6 else ""
    return str(rng.choice(TEMPLATES)).format(look + noun)


@torch.no_grad()
def draw_embeddings(model: Kandinsky, prompt: str, generator: torch.Generator) -> Tensor:
    return model.sample_prior(model.encode_prompt(prompt), generator, PER_PROMPT, cached=True)


def stretched(z: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the rows as they are, the others up to twice as far from their mean: rare ones have to come back too."""
    away = (2 * torch.rand(len(z), 1, generator=generator) - 1).clamp(min=0).to(z)
    return z + away * (z - z.mean(0))


class Corpus:
    """Versions of the pictures and their embeddings, those of the families most often."""

    def __init__(self, pictures: Pictures, space: Path) -> None:
        self.pictures, self.index = pictures, np.load(space / "index.npy")
        self.parameters = torch.from_numpy(np.load(space / "parameters.npy"))
        self.z = torch.from_numpy(np.load(space / "z.npy"))
        held_out = np.isin(self.index, pictures.held_out)
        self.train, self.held_out = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.weights = torch.from_numpy(picture_weights(pictures, self.index[self.train], 0.7))

    def draw_batch(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pixels in [−1, 1] and embeddings."""
        return self.rows(self.train[torch.multinomial(self.weights, batch, replacement=True, generator=generator)])

    def check(self, count: int) -> tuple[Tensor, Tensor]:
        """The same, of `count` held-out versions."""
        return self.rows(self.held_out[np.linspace(0, len(self.held_out) - 1, count).astype(int)])

    def rows(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = self.pictures.pixels(self.index[rows].tolist())
        return augment.apply(pixels, self.parameters[rows]), self.z[rows].to(DEVICE)


def start(folder: Path) -> CLIPVisionModelWithProjection:
    """The encoder that the folder holds, to go on from, or a new one."""
    if not folder.exists():
        return CLIPVisionModelWithProjection(CONFIG)
    return CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32)


def optimizers_of(encoder: CLIPVisionModelWithProjection, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, which gets further in few steps, at AdamW's learning rate; AdamW for the rest."""
    named = list(encoder.named_parameters())
    inner = {name for name, p in named if p.ndim == 2 and ".layers." in name}
    return [
        torch.optim.Muon([p for n, p in named if n in inner], lr, 0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([p for n, p in named if n not in inner], lr, weight_decay=0.05, betas=(0.9, 0.98)),
    ]


def train(
    encoder: CLIPVisionModelWithProjection,
    pairs: Pairs,
    corpus: Corpus,
    *,
    minutes: float,
    lr: float = 2e-3,
    batch: int = 64,
) -> None:
    """Mean squared error of the embeddings of `batch` versions and of as many pairs."""
    optimizers, generator = optimizers_of(encoder, lr), torch.Generator().manual_seed(0)
    start, step = time.time(), 0
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = lr * min(1, (step + 1) / 50) * learning_rate(done, 0.2)
        (made, z), (real, known) = pairs.draw_batch(batch, generator), corpus.draw_batch(batch, generator)
        loss = F.mse_loss(embed(encoder, torch.cat([made, real])), torch.cat([z, known]))
        encoder.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        if step % 100 == 0:
            held_out = figures(encoder, pairs, corpus)
            print(f"vision {step} {done * minutes:.1f} min loss {loss.item():.3f} held out: {held_out}", flush=True)


@torch.no_grad()
def figures(encoder: CLIPVisionModelWithProjection, pairs: Pairs, corpus: Corpus) -> str:
    """Both lessons on what is held out."""
    lessons = {"pairs": pairs.rows(torch.arange(CHECKED)), "corpus": corpus.check(CHECKED)}
    found = {
        name: F.cosine_similarity(embed(encoder, pixels), z).mean().item() for name, (pixels, z) in lessons.items()
    }
    return ", ".join(f"{name} cosine {cosine:.3f}" for name, cosine in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parent / "rarebit-mini")
    parser.add_argument("--pairs", type=Path, required=True, help="made when there is no such file")
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    torch.manual_seed(0)
    folders = (str(args.checkpoint / part) for part in ("prior", "decoder"))
    model = Kandinsky.load(*folders, device=str(DEVICE), dtype=torch.float32)
    if not args.pairs.exists():
        Pairs.draw(model, range(PROMPTS)).save(args.pairs)
    folder = args.checkpoint / "prior" / "image_encoder"
    encoder = start(folder).to(DEVICE).train()
    train(encoder, Pairs.load(args.pairs), Corpus(Pictures.load(args.data, EDGE), args.space), minutes=args.minutes)
    encoder.half().save_pretrained(folder)


if __name__ == "__main__":
    main()
