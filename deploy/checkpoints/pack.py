"""Pack what a machine with a GPU and no internet needs: `python -m deploy.checkpoints.pack --run WORK`.

Writes one file of at most 60 MB. It holds the code, `requirements.txt` (the packages that must be there or brought) and
a work folder in which the stages that need the teachers count as done: `train.sh work` goes on from there. The scorer
and the report stay at home with their teachers.
"""

import argparse
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPTextModelWithProjection

from deploy.checkpoints import archive
from deploy.checkpoints.corpus import SHARDS, family_of

ROOT = Path(__file__).parents[2]
LIMIT_MB = 60
QUALITY = {256: 80, 64: 70}  # of WebP, by the edge: families are drawn, the others only looked at
GRID = 32  # steps of an embedding's coordinate to 1, which has variance 1: far below the noise that training adds
PACKAGES = (
    "diffusers",
    "efficientnet-lite-pytorch",
    "jaxtyping",
    "open_clip_torch",
    "safetensors",
    "scikit-learn",
    "torchvision",
    "transformers",
)
CODE = ("deploy/__init__.py", "deploy/checkpoints", "services")
DONE = ("pictures_2d", "pictures_3d", "lite0", "space", "text", "pack", "scorer", "calibrate", "report")  # of train.sh


def pack_pictures(data: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for shard in SHARDS:
        shutil.copy(data / f"{shard}.jsonl", out)
        records = [json.loads(line) for line in (data / f"{shard}.jsonl").read_text().splitlines()]
        edges = [256 if family_of(r) else 64 for r in records]
        archive.write(out / f"{shard}.zip", reduced(data / f"{shard}.zip", edges))


def reduced(path: Path, edges: list[int]) -> Iterator[bytes]:
    """The archive's pictures, encoded anew at the edges (in pixels) given for them."""
    whole = archive.read([path], 256, [True] * len(edges))
    for pixels, edge in zip(whole, edges, strict=True):
        image = Image.fromarray(pixels).resize((edge, edge), Image.Resampling.BOX)
        yield archive.webp(image, QUALITY[edge])


def pack_space(space: Path, out: Path) -> None:
    """Versions, words and embeddings; these in steps that compress to a byte a number."""
    out.mkdir(parents=True)
    for name in ("index", "first", "parameters"):
        shutil.copy(space / f"{name}.npy", out)
    np.save(out / "z.npy", np.round(np.load(space / "z.npy") * GRID) / GRID)
    saved = torch.load(space / "space.pt", weights_only=True)
    torch.save({name: saved[name] for name in ("words", "choices")}, out / "space.pt")


def pack_text(text: Path, out: Path) -> None:
    CLIPTextModelWithProjection.from_pretrained(text / "text_encoder").half().save_pretrained(out / "text_encoder")
    shutil.copytree(text / "tokenizer", out / "tokenizer")


def pack_code(out: Path) -> None:
    """The modules that training needs, without the checkpoint, and what they import from elsewhere."""
    ignore = shutil.ignore_patterns("__pycache__", "rarebit-mini")
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, out / name, ignore=ignore)
        else:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, out / name)
    needed = [f"{name}=={version(name).split('+')[0]}" for name in PACKAGES]
    (out / "requirements.txt").write_text("\n".join(needed) + "\n")


def write(run: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory(dir=run) as folder:
        pack, work = Path(folder), Path(folder) / "work"
        pack_code(pack)
        pack_pictures(run / "data", work / "data")
        pack_space(run / "space", work / "space")
        pack_text(run / "text", work / "text")
        shutil.copy(run / "lite0.safetensors", work)
        (work / "done").mkdir()
        for stage in DONE:
            (work / "done" / stage).touch()
        with tarfile.open(out, "w:xz") as tar:
            tar.add(pack, "rarebit-training")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="train.sh's work folder")
    parser.add_argument("--out", type=Path, help="WORK/rarebit-training.tar.xz unless given")
    args = parser.parse_args()
    out = args.out or args.run / "rarebit-training.tar.xz"
    write(args.run, out)
    megabytes = out.stat().st_size / 1e6
    if megabytes > LIMIT_MB:
        raise SystemExit(f"{out} is of {megabytes:.1f} MB, {LIMIT_MB} MB is the most: lower QUALITY {QUALITY}")
    print(f"{out}: {megabytes:.1f} MB")


if __name__ == "__main__":
    main()
