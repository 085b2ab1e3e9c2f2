"""Find out what the trained judge knows, on pictures that it was not taught, and write it to nouns.json.

A name is known whose test pictures the judge tells from all others. A phrase that is no known name is taken for known
as far as its embedding lies as near to a known name as it takes (`floor`) for names that were never taught to be told
apart. `temperature` makes probabilities of cosines.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from deploy.checkpoints.corpus import FAMILIES, Pictures, family_of
from deploy.checkpoints.scorer import EDGE, embed_maps, embed_texts
from deploy.checkpoints.scorer_lessons import NOTHING, Split

TOLD = 0.98  # area under the curve of a known name's pictures against all others
TRUSTED = 0.9  # share of the names beyond the floor that must be told apart


def scores_of(z: Tensor, t: Tensor, own: Tensor) -> Tensor:
    """Area under the curve of each name (names,): its own pictures' cosines against all others'; `own` (names, n)."""
    ranks = (t @ z.T).argsort(1).argsort(1).float()
    count, total = own.sum(1), own.shape[1]
    return ((ranks * own).sum(1) / count - (count - 1) / 2) / (total - count)


def measured(z: Tensor, names: list[str], model: open_clip.CLIP) -> tuple[list[str], Tensor, Tensor]:
    """The distinct names of test pictures, their text embeddings, and how well each is told apart."""
    unique = sorted(set(names))
    own = torch.tensor([[name == other for other in names] for name in unique])
    t = embed_texts(model, unique).cpu()
    return unique, t, scores_of(z, t, own.float())


def floor_of(known: Tensor, unseen: Tensor, told: Tensor) -> float:
    """The least cosine to a known name from which on TRUSTED of the unseen names are told apart."""
    nearest = (unseen @ known.T).max(1).values
    order = nearest.argsort(descending=True)
    share = told[order].float().cumsum(0) / torch.arange(1, len(order) + 1)
    enough = (share >= TRUSTED).nonzero()
    return nearest[order][enough[-1, 0]].item() if len(enough) else 1.0


def temperature_of(z: Tensor, families: Tensor, bank: Tensor) -> float:
    """What minimises cross-entropy among the families and nothing on test pictures."""
    cosines, candidates = z @ bank.T, torch.logspace(-2, -0.5, 61)
    losses = [F.cross_entropy(cosines / temperature, families).item() for temperature in candidates]
    return candidates[int(np.argmin(losses))].item()


def colours_told(z: Tensor, said: list[str], nouns: list[str], model: open_clip.CLIP) -> list[str]:
    """The colours that most pictures of a family's noun that are of that colour are given among all of them."""
    colours = sorted(set(said))
    given = []
    for noun in sorted(set(nouns)):
        rows = [i for i, other in enumerate(nouns) if other == noun]
        bank = embed_texts(model, [f"{colour} {noun}" for colour in colours]).cpu()
        given += [(said[i], colours[k]) for i, k in zip(rows, (z[rows] @ bank.T).argmax(1).tolist(), strict=True)]
    return [c for c in colours if np.mean([said == got for said, got in given if said == c]) >= 0.5]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--scorer", type=Path, required=True, help="as train_scorer.py wrote it; nouns.json goes there")
    args = parser.parse_args()
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{args.scorer}")
    pictures, maps = Pictures.load(args.data, EDGE), np.load(args.scorer / "maps.npy", mmap_mode="r")
    index, first = (np.load(args.space / f"{name}.npy") for name in ("index", "first"))
    split = Split.of(pictures, index, first)
    named = [[pictures.records[i]["name"] for i in index[rows]] for rows in (split.seen, split.unseen)]
    seen, unseen = (embed_maps(model.eval(), maps, rows).cpu() for rows in (split.seen, split.unseen))
    names, _, told = measured(seen, named[0], model)
    nouns = [name for name, score in zip(names, told.tolist(), strict=True) if score >= TOLD or name in FAMILIES]
    others, strange, told_apart = measured(unseen, named[1], model)
    floor = floor_of(embed_texts(model, nouns), strange, told_apart >= TOLD)
    kinds = [pictures.families[i] for i in index[split.seen]]
    rows = [i for i, kind in enumerate(kinds) if kind]
    bank = embed_texts(model, [*FAMILIES, NOTHING])
    temperature = temperature_of(seen[rows], torch.tensor([list(FAMILIES).index(kinds[i]) for i in rows]), bank)
    families = {f: sorted({n for n in nouns if family_of({"name": n, "style": ""}) == f and n != f}) for f in FAMILIES}
    words, choices = (torch.load(args.space / "space.pt", weights_only=True)[name] for name in ("words", "choices"))
    said = [words[choices[row][2]].split()[0] for row in split.seen[rows]]
    colours = colours_told(seen[rows], said, [kinds[i] for i in rows], model)
    words = {"nouns": nouns, "families": families, "attributes": {"colour": colours}, "nothing": NOTHING}
    words |= {"temperature": round(temperature, 4), "floor": round(floor, 4)}
    (args.scorer / "nouns.json").write_text(json.dumps(words, indent=1) + "\n")
    print(f"{len(nouns)} of {len(names)} names known; of {len(others)} unseen {(told_apart >= TOLD).sum()} told apart")
    print(f"temperature {temperature:.4f}, floor {floor:.3f}")


if __name__ == "__main__":
    main()
