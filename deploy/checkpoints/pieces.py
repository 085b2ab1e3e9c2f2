"""A long computation over rows in pieces, each kept when it is done: a stopped one goes on where it was."""

import os
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path

import numpy as np

ROWS = 2048
Arrays = dict[str, np.ndarray]


def compute(folder: Path, count: int, of_rows: Callable[[range], Arrays], processes: int = 1) -> Arrays:
    """`of_rows` of all rows, each array joined along its first axis; `processes` of them at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [(folder / f"{i:07}.npz", range(i, min(i + ROWS, count)), of_rows) for i in range(0, count, ROWS)]
    missing = [piece for piece in pieces if not piece[0].exists()]
    if processes == 1:
        report(folder.name, map(keep, missing), len(missing))
    else:
        with get_context("spawn").Pool(processes) as pool:
            report(folder.name, pool.imap_unordered(keep, missing), len(missing))
    done = [dict(np.load(path)) for path, _, _ in pieces]
    return {name: np.concatenate([arrays[name] for arrays in done]) for name in done[0]}


def keep(piece: tuple[Path, range, Callable[[range], Arrays]]) -> None:
    path, rows, of_rows = piece
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez(file, **of_rows(rows))
    part.replace(path)


def report(what: str, pieces: Iterable[None], count: int) -> None:
    for i, _ in enumerate(pieces, 1):
        print(f"{what}: piece {i} of {count}", flush=True)
