"""Distil the CLIP text encoder: its embedding of a templated phrase is the text teacher's embedding of the phrase.

The BPE table starts from the teacher's embeddings of the tokens, so that words no caption holds still mean something.
"""

import argparse
import math
import random
from pathlib import Path

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from deploy.checkpoints.corpus import DEVICE, FAMILIES, HUES, TEMPLATES
from deploy.checkpoints.run import Run
from deploy.checkpoints.teachers import TextTeacher
from deploy.checkpoints.train_space import DIM, Heads

CONFIG = CLIPTextConfig(
    vocab_size=49408,
    hidden_size=DIM,
    intermediate_size=4 * DIM,
    num_hidden_layers=4,
    num_attention_heads=4,
    max_position_embeddings=32,
    projection_dim=DIM,
    hidden_act="quick_gelu",
    bos_token_id=49406,
    eos_token_id=49407,
    pad_token_id=49407,
)
LR, DECAY, REPORT_EVERY = 1e-3, 0.998, 100
ADJECTIVES = [
    "creative",
    "surprising",
    "unusual",
    "strange",
    "beautiful",
    "modern",
    "antique",
    "futuristic",
    "organic",
    "minimal",
    "ornate",
    "soft",
    "tiny",
    "giant",
    "wooden",
    "metal",
    "glass",
    "leather",
    "paper",
    "round",
    "square",
    "tall",
    "elegant",
    "playful",
]


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer of 49,408 entries, from what open_clip ships, cut to 32 positions."""
    bpe = SimpleTokenizer()
    special = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {special.get(word, word): number for word, number in bpe.encoder.items()}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=list(bpe.bpe_ranks), model_max_length=32)
    tokenizer.save_pretrained(folder)
    return tokenizer


def token_table(tokenizer: CLIPTokenizer, teacher: TextTeacher, heads: Heads) -> Tensor:
    """One row for each BPE token (49408, 128): the teacher's embedding of its letters, of norm 0.4."""
    words = [t.replace("</w>", "") for t, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    features = torch.cat([teacher(words[i : i + 512]) for i in range(0, len(words), 512)])
    rows = heads.embed_text(features).detach()
    rows = rows - rows.mean(0)
    return 0.4 * F.normalize(rows + 3 * torch.randn(rows.shape), dim=-1)


def phrases_beside(words: list[str], tokenizer: CLIPTokenizer) -> list[str]:
    """What no caption says: whole words of the vocabulary, and nouns of ours with adjectives and colours."""
    vocabulary = [t[:-4] for t in tokenizer.get_vocab() if t.endswith("</w>") and t[:-4].isascii() and t[:-4].isalpha()]
    nouns = [n for family, more in FAMILIES.items() for n in (family, *more.split())]
    adjectives = ADJECTIVES + [colour for _, colour in HUES]
    return [v for v in vocabulary if len(v) > 2][:20000] + [f"{a} {n}" for a in adjectives for n in nouns] + words


def embed(model: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Embeddings (batch, 128); the attention is causal, so that the padding after a text changes nothing before it."""
    batch = tokenizer(texts, padding="longest", truncation=True, return_tensors="pt").to(DEVICE)
    return model(batch["input_ids"]).text_embeds


def train(
    run: Run, tokenizer: CLIPTokenizer, texts: list[str], targets: Tensor, common: int, *, minutes: float, batch: int
) -> None:
    """`texts` from index `common` on are the captions' own, drawn two times in three."""
    rng = random.Random(run.step)
    for done in run.until(minutes):
        picks = [
            rng.randrange(common, len(texts)) if rng.random() < 2 / 3 else rng.randrange(common) for _ in range(batch)
        ]
        t = embed(run.model, tokenizer, [rng.choice(TEMPLATES).format(texts[i]) for i in picks])
        loss = (t - targets[picks]).square().mean()
        run.descend(loss, LR * min(1, (run.step + 1) / 100) * (1 + math.cos(math.pi * done)) / 2, DECAY)
        if run.step % REPORT_EVERY == 0:
            cosine = F.cosine_similarity(t, targets[picks]).mean().item()
            print(f"text {run.step} {run.seconds / 60:.1f} min loss {loss:.4f} cosine {cosine:.3f}", flush=True)
    run.save()
    run.average.save_pretrained(run.folder / "text_encoder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="resumed from when it holds a run")
    parser.add_argument("--minutes", type=float, required=True, help="of all runs together")
    parser.add_argument("--batch", type=int, default=192)
    args = parser.parse_args()
    torch.manual_seed(0)
    space = torch.load(args.space / "space.pt", weights_only=True)
    heads = Heads(space["heads"]["image.0.weight"].shape[1], space["heads"]["read.weight"].shape[0]).eval()
    heads.load_state_dict(space["heads"])
    teacher, tokenizer = TextTeacher(), build_tokenizer(args.out / "tokenizer")
    model = CLIPTextModelWithProjection(CONFIG)
    model.text_model.embeddings.token_embedding.weight.data = token_table(tokenizer, teacher, heads)
    words = space["words"]
    texts = phrases_beside(words, tokenizer)
    with torch.no_grad():
        targets = torch.cat([heads.embed_text(teacher(texts[i : i + 512])) for i in range(0, len(texts), 512)]).to(
            DEVICE
        )
    run = Run.start(args.out, model.to(DEVICE), weight_decay=0.01)
    train(run, tokenizer, texts, targets, len(texts) - len(words), minutes=args.minutes, batch=args.batch)


if __name__ == "__main__":
    main()
