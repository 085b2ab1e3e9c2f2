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

from deploy.checkpoints.corpus import FAMILIES, HUES, Pictures
from deploy.checkpoints.train_scorer import EDGE, NOTHING, Split, embed_texts, late

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
