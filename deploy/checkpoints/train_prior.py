"""Train the diffusion prior: a PriorTransformer with the UnCLIPScheduler, captions to image embeddings.

It stops where the loss on held-out objects turns, and keeps the average of its weights from where that was lowest.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import PriorTransformer, UnCLIPScheduler
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from deploy.checkpoints.corpus import DEVICE, TEMPLATES, Pictures, picture_weights
from deploy.checkpoints.run import Run, learning_rate
from deploy.checkpoints.train_space import DIM
from services.diffusion.kandinsky.encoding import Encoding
from services.diffusion.kandinsky.layout import Layout
from services.diffusion.kandinsky.transformer import Predictor, Transformer

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
CHECKED, CHECK_EVERY = 2048, 100  # held-out variants; steps
LR, DECAY = 6e-4, 0.998
HELD_OUT_SEED = 1


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
    def encode(self, captions: list[str]) -> Encoding:
        """One row for each caption, without the padding of all of them.

        The attention is causal, so that the padding, which comes last, changes nothing before it.
        """
        batch = self.tokenizer(captions, padding="longest", truncation=True, return_tensors="pt").to(DEVICE)
        output = self.model(batch["input_ids"])
        return Encoding(output.text_embeds, output.last_hidden_state, batch["attention_mask"].bool())


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
    prompts, transformer = text.encode(captions), Transformer(prior)
    layout = Layout.of(prompts.mask, 0, prior.dtype)
    past = transformer.run(transformer.prompt(prompts), transformer.nothing(len(captions)), layout)[1]
    predict = Predictor(transformer, layout.repeat(NOISES), [p.repeat(NOISES, 1, 1, 1) for p in past], None)
    return F.mse_loss(predict(noisy, transformer.time(timesteps)), target)


def train(run: Run, text: Text, examples: Examples, held_out: Examples, minutes: float) -> None:
    scheduler, losses = UnCLIPScheduler(**SCHEDULER), []
    generator, rng = torch.Generator().manual_seed(run.step), np.random.default_rng(run.step)
    for done in run.until(minutes):
        loss = loss_of(run.model, scheduler, text, examples.draw(rng, BATCH), generator)
        run.descend(loss, LR * min(1, (run.step + 1) / 200) * learning_rate(done, 0.4), DECAY)
        losses.append(loss.item())
        if run.step % CHECK_EVERY == 0:
            print(f"prior {run.step} loss {np.mean(losses[-CHECK_EVERY:]):.4f}", flush=True)
            if run.check(held_out_loss(run.average, scheduler, text, held_out)):
                run.average.save_pretrained(run.folder / "prior")


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
    args = parser.parse_args()
    torch.manual_seed(0)
    examples, held_out = load_examples(args.data, args.space)
    prior = (
        PriorTransformer.from_pretrained(args.init, torch_dtype=torch.float32)
        if args.init
        else PriorTransformer(**CONFIG)
    )
    prior.requires_grad_(True)
    for fixed, value in ((prior.clip_mean, examples.z.mean(0)), (prior.clip_std, examples.z.std(0))):
        fixed.requires_grad_(False).data = value[None]
    run = Run.start(args.out, prior.to(DEVICE), weight_decay=0.03)
    train(run, Text.load(args.text), examples, held_out, args.minutes)
    UnCLIPScheduler(**SCHEDULER).save_pretrained(args.out / "scheduler")


if __name__ == "__main__":
    main()
