"""Train the diffusion prior: a PriorTransformer with the UnCLIPScheduler, captions to image embeddings.

It stops where the loss on held-out objects turns, and keeps the average of its weights from where that was lowest.
"""

import argparse
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from deploy.checkpoints.corpus import DEVICE, FAMILIES, TEMPLATES, Pictures
from deploy.checkpoints.train_space import DIM
from deploy.checkpoints.train_unet import learning_rate, update_average
from services.diffusion.prefix import predict, prefix_of

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
BATCH, NOISES = 128, 4  # captions a step, and noises for each: a caption costs several times what a noise does
NOISE = 0.3  # added to the target embeddings of norm √128, against remembering
CHECKED, CHECK_EVERY, PATIENCE = 2048, 100, 5  # held-out variants; steps; checks without a new lowest
HELD_OUT_SEED = 1


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


@dataclass(frozen=True)
class Examples:
    """Image embeddings (n, 128) of variants, their sampling weights (n,), and what each may be called."""

    z: Tensor
    weights: Tensor
    families: list[str | None]
    words: list[str]
    choices: list[list[int]]

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, list[str]]:
        """Embeddings (count, 128) and a caption of each."""
        picks = rng.choice(len(self.z), count, p=self.weights.numpy())
        return self.z[picks], [self.caption(i, rng) for i in picks]

    def caption(self, pick: int, rng: np.random.Generator) -> str:
        """A phrase of the variant's or its family's noun, in a template; one in eight is nothing at all."""
        if rng.random() < 0.12:
            return ""
        family = self.families[pick]
        phrase = family if family and rng.random() < 0.5 else self.words[rng.choice(self.choices[pick])]
        return str(rng.choice(TEMPLATES, p=[0.5, 0.2, 0.1, 0.2])).format(phrase)


@dataclass(frozen=True)
class Text:
    """The finished text encoder."""

    model: CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer

    @classmethod
    def load(cls, folder: Path) -> "Text":
        model = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        return cls(model.eval().to(DEVICE), CLIPTokenizer.from_pretrained(folder / "tokenizer"))

    @torch.no_grad()
    def encode(self, captions: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (batch, 128), hidden states (batch, tokens, 128) and mask, without the padding of all of them.

        The attention is causal, so that the padding, which comes last, changes nothing before it.
        """
        batch = self.tokenizer(captions, padding="longest", truncation=True, return_tensors="pt").to(DEVICE)
        output = self.model(batch["input_ids"])
        hidden = F.pad(output.last_hidden_state, (0, 0, 0, CONFIG["num_embeddings"] - batch["input_ids"].shape[1]))
        mask = F.pad(batch["attention_mask"].bool(), (0, hidden.shape[1] - batch["input_ids"].shape[1]))
        return output.text_embeds, hidden, mask


def loss_of(
    prior: PriorTransformer,
    scheduler: UnCLIPScheduler,
    text: Text,
    batch: tuple[Tensor, list[str]],
    rng: torch.Generator,
) -> Tensor:
    """Mean squared error of the standardised embedding over NOISES noises, each at a timestep of its own."""
    z, captions = batch
    z = (z + NOISE * torch.randn(z.shape, generator=rng)).to(DEVICE)
    target = ((z - prior.clip_mean) / prior.clip_std).repeat(NOISES, 1)
    timesteps = torch.randint(0, SCHEDULER["num_train_timesteps"], (len(target),), generator=rng).to(DEVICE)
    noisy = scheduler.add_noise(target, torch.randn(target.shape, generator=rng).to(DEVICE), timesteps)
    prompts = prefix_of(prior, *text.encode(captions)).rows(list(range(len(captions))) * NOISES)
    return F.mse_loss(predict(prior, prompts, noisy, timesteps), target)


@dataclass
class Run:
    """What is trained, its average, and where the average was best on what is held out."""

    prior: PriorTransformer
    average: PriorTransformer
    optimizer: torch.optim.Optimizer
    step: int = 0
    lowest: float = float("inf")
    since: int = 0  # checks since then

    @classmethod
    def start(cls, folder: Path, prior: PriorTransformer, lr: float) -> "Run":
        """A new run, or the one whose state the folder holds."""
        parameters = [p for p in prior.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.03, betas=(0.9, 0.98))
        run = cls(prior, deepcopy(prior), optimizer)
        if (folder / "resume.pt").exists():
            state = torch.load(folder / "resume.pt", weights_only=True, map_location=DEVICE)
            for name in ("prior", "average", "optimizer"):
                getattr(run, name).load_state_dict(state.pop(name))
            vars(run).update(state)
        return run

    def check(self, folder: Path, held_out: float) -> None:
        """Keep the average if it is the best so far, and the state in any case."""
        self.since += 1
        if held_out < self.lowest:
            self.lowest, self.since = held_out, 0
            self.average.save_pretrained(folder / "prior")
        parts = {name: getattr(self, name).state_dict() for name in ("prior", "average", "optimizer")}
        torch.save(parts | {n: getattr(self, n) for n in ("step", "lowest", "since")}, folder / "resume.tmp")
        (folder / "resume.tmp").replace(folder / "resume.pt")


def train(run: Run, text: Text, examples: Examples, held_out: Examples, args: argparse.Namespace) -> None:
    scheduler, start, losses = UnCLIPScheduler(**SCHEDULER), time.time(), []
    generator, rng = torch.Generator().manual_seed(run.step), np.random.default_rng(run.step)
    while (done := (time.time() - start) / (60 * args.minutes)) < 1 and run.since < PATIENCE:
        for group in run.optimizer.param_groups:
            group["lr"] = args.lr * min(1, (run.step + 1) / 200) * learning_rate(done, 0.4)
        loss = loss_of(run.prior, scheduler, text, examples.draw(rng, BATCH), generator)
        run.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.prior.parameters(), 1.0)
        run.optimizer.step()
        run.step += 1
        update_average(run.average, run.prior, min(0.998, (1 + run.step) / (10 + run.step)))
        losses.append(loss.item())
        if run.step % CHECK_EVERY == 0:
            run.check(args.out, held_out_loss(run.average, scheduler, text, held_out))
            print(
                f"prior {run.step} {done * args.minutes:.1f} min loss {np.mean(losses[-CHECK_EVERY:]):.4f} "
                f"lowest held out {run.lowest:.4f}, {run.since} checks ago",
                flush=True,
            )


@torch.no_grad()
def held_out_loss(prior: PriorTransformer, scheduler: UnCLIPScheduler, text: Text, held_out: Examples) -> float:
    """The same captions, noises and timesteps each time."""
    rng, generator = np.random.default_rng(HELD_OUT_SEED), torch.Generator().manual_seed(HELD_OUT_SEED)
    batches = [held_out.draw(rng, BATCH) for _ in range(CHECKED // BATCH)]
    return float(np.mean([loss_of(prior, scheduler, text, batch, generator).item() for batch in batches]))


def load_examples(data: Path, space_folder: Path) -> tuple[Examples, Examples]:
    """What is trained on, and what is held out; weighted alike."""
    pictures, space = Pictures.load(data, 64), torch.load(space_folder / "space.pt", weights_only=True)
    z, index = torch.from_numpy(np.load(space_folder / "z.npy")), np.load(space_folder / "index.npy")
    weights, held_out = picture_weights(pictures, index, 0.8), np.isin(index, pictures.held_out)
    families = [pictures.families[i] for i in index]
    parts = (torch.from_numpy(weights * mask / (weights * mask).sum()) for mask in (~held_out, held_out))
    train_part, check_part = (Examples(z, part, families, space["words"], space["choices"]) for part in parts)
    return train_part, check_part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="resumed from when it holds a run")
    parser.add_argument("--init", type=Path, help="a prior to start from")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--lr", type=float, default=6e-4)
    args = parser.parse_args()
    torch.manual_seed(0)
    args.out.mkdir(parents=True, exist_ok=True)
    examples, held_out = load_examples(args.data, args.space)
    prior = (
        PriorTransformer.from_pretrained(args.init, torch_dtype=torch.float32)
        if args.init
        else PriorTransformer(**CONFIG)
    )
    prior.requires_grad_(True)
    for fixed, value in ((prior.clip_mean, examples.z.mean(0)), (prior.clip_std, examples.z.std(0))):
        fixed.requires_grad_(False).data = value[None]
    run = Run.start(args.out, prior.to(DEVICE), args.lr)
    train(run, Text.load(args.text), examples, held_out, args)
    UnCLIPScheduler(**SCHEDULER).save_pretrained(args.out / "scheduler")
    print(f"prior done at step {run.step}: lowest held-out loss {run.lowest:.4f}")


if __name__ == "__main__":
    main()
