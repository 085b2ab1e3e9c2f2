"""Train the diffusion prior: a PriorTransformer with the UnCLIPScheduler, captions to image embeddings."""

import argparse
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from deploy.checkpoints.corpus import DEVICE, TEMPLATES, Pictures
from deploy.checkpoints.train_space import DIM
from deploy.checkpoints.train_text import encode
from deploy.checkpoints.train_unet import learning_rate, update_average

CONFIG = {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "num_layers": 4,
    "embedding_dim": DIM,
    "num_embeddings": 32,
    "additional_embeddings": 4,
    "dropout": 0.0,
}
SCHEDULER = {
    "variance_type": "fixed_small_log",
    "num_train_timesteps": 1000,
    "clip_sample": True,
    "clip_sample_range": 10.0,
    "prediction_type": "sample",
}


def picture_weights(pictures: Pictures, index: np.ndarray, families_share: float) -> np.ndarray:
    """Sampling weight of each variant: families alike, in each family drawings and renders alike, the rest alike."""
    keys = [f and (f, "model" in pictures.records[i]) for i, f in ((i, pictures.families[i]) for i in index)]
    counts = {k: keys.count(k) for k in set(keys)}
    kinds = {f: sum(1 for k in counts if k and k[0] == f) for f in {k[0] for k in keys if k}}
    return np.array(
        [
            families_share / len(kinds) / kinds[k[0]] / counts[k] if k else (1 - families_share) / counts[None]
            for k in keys
        ]
    )


class Captions:
    """Random captions of variants: a phrase of theirs or their family's noun, in a template, or nothing at all."""

    def __init__(self, pictures: Pictures, index: np.ndarray, words: list[str], choices: list[list[int]]) -> None:
        self.families = [pictures.families[i] for i in index]
        self.words, self.choices = words, choices

    def draw(self, picks: list[int], rng: np.random.Generator) -> list[str]:
        return [self.caption(i, rng) for i in picks]

    def caption(self, pick: int, rng: np.random.Generator) -> str:
        if rng.random() < 0.12:
            return ""
        family = self.families[pick]
        phrase = family if family and rng.random() < 0.5 else self.words[rng.choice(self.choices[pick])]
        return str(rng.choice(TEMPLATES, p=[0.5, 0.2, 0.1, 0.2])).format(phrase)


def predict(prior: PriorTransformer, noisy: Tensor, timesteps: Tensor, text: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    t, hidden, mask = text
    return prior(
        noisy, timestep=timesteps, proj_embedding=t, encoder_hidden_states=hidden, attention_mask=mask
    ).predicted_image_embedding


def train(
    prior: PriorTransformer,
    z: Tensor,
    weights: Tensor,
    captions: Captions,
    text: CLIPTextModelWithProjection,
    tokenizer: CLIPTokenizer,
    args: argparse.Namespace,
) -> PriorTransformer:
    """Mean squared error of the standardised embedding, which carries a little noise against remembering."""
    scheduler, average = UnCLIPScheduler(**SCHEDULER), deepcopy(prior)
    parameters = [p for name, p in prior.named_parameters() if name not in ("clip_mean", "clip_std")]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=0.03, betas=(0.9, 0.98))
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    start, step, losses = time.time(), 0, []
    while (done := (time.time() - start) / (60 * args.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1, (step + 1) / 200) * learning_rate(done, 0.4)
        picks = torch.multinomial(weights, args.batch, replacement=True, generator=generator)
        with torch.no_grad():
            condition = encode(text, tokenizer, captions.draw(picks.tolist(), rng))
        z_noisy = z[picks] + args.noise * torch.randn(args.batch, DIM, generator=generator)
        target = (z_noisy.to(DEVICE) - prior.clip_mean) / prior.clip_std
        timesteps = torch.randint(0, 1000, (args.batch,), generator=generator).to(DEVICE)
        noisy = scheduler.add_noise(target, torch.randn(target.shape, generator=generator).to(DEVICE), timesteps)
        loss = F.mse_loss(predict(prior, noisy, timesteps, condition), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        update_average(average, prior, min(0.998, (1 + step) / (10 + step)))
        losses.append(loss.item())
        if step % 100 == 0:
            print(f"prior {step} {done * args.minutes:.1f} min loss {np.mean(losses[-100:]):.4f}", flush=True)
    return average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="go on from here")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--noise", type=float, default=0.3, help="added to the target embeddings of norm √128")
    args = parser.parse_args()
    torch.manual_seed(0)
    pictures = Pictures.load(args.data)
    z, index = torch.from_numpy(np.load(args.space / "z.npy")), np.load(args.space / "index.npy")
    space = torch.load(args.space / "space.pt", weights_only=True)
    held_out = set(pictures.held_out)
    weights = picture_weights(pictures, index, 0.8) * [i not in held_out for i in index]
    prior = PriorTransformer.from_pretrained(args.init / "prior") if args.init else PriorTransformer(**CONFIG)
    prior.clip_mean.data = z.mean(0, keepdim=True)
    prior.clip_std.data = z.std(0, keepdim=True)
    prior.requires_grad_(True)
    captions = Captions(pictures, index, space["words"], space["choices"])
    text = CLIPTextModelWithProjection.from_pretrained(args.text / "text_encoder").eval().to(DEVICE)
    tokenizer = CLIPTokenizer.from_pretrained(args.text / "tokenizer")
    average = train(prior.to(DEVICE), z, torch.from_numpy(weights), captions, text, tokenizer, args)
    average.save_pretrained(args.out / "prior")
    UnCLIPScheduler(**SCHEDULER).save_pretrained(args.out / "scheduler")


if __name__ == "__main__":
    main()
