"""The recipe of the embedded checkpoint, rehearsed on a few made-up pictures with teachers that know nothing."""

import itertools
import json
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional as F

from deploy.checkpoints import (
    archive,
    augment,
    export,
    export_latents,
    pack,
    perceptual,
    pieces,
    train_guidance,
    train_movq,
    train_prior,
    train_space,
    train_text,
    train_unet,
)
from deploy.checkpoints.corpus import Pictures, split_of
from deploy.checkpoints.export import PriorTransformer, UNet2DConditionModel, VQModel
from deploy.checkpoints.run import Run

SECONDS = 1 / 60 / 2  # half of one, in minutes: a step or two


def drawn(seed):
    """A figure of a colour of its own."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(image).ellipse((40, 60, 200, 190), fill=tuple(rng.integers(0, 200, 3).tolist()))
    return image


def write_pictures(folder):
    """Drawings of a family, of twelve that are held out and of none, and renders; 50 in all."""
    held_out = [f"{i} chair" for i in range(500) if split_of({"name": f"{i} chair"}) == 0][:12]
    names = [*held_out, *(f"{colour} chair" for colour in "abcdefgh"), *("comet", "galaxy", "planet", "quasar")]
    records = {"2d": [{"name": n, "style": "flat"} for n in names]}
    records["3d"] = [{"name": "old lamp", "style": "3d", "model": f"lamp {i // 2}"} for i in range(26)]
    seeds = itertools.count()
    folder.mkdir(parents=True)
    for shard, rows in records.items():
        (folder / f"{shard}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        archive.write(folder / f"{shard}.zip", (archive.webp(drawn(next(seeds))) for _ in rows))


class ImageTeacher:
    def __call__(self, pixels, size):
        return F.adaptive_avg_pool2d(pixels, 16).flatten(1)


class TextTeacher:
    def __call__(self, texts):
        noise = torch.Generator().manual_seed(0)
        return torch.randn(len(texts), 384, generator=noise)


def lite0_weights():
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0").state_dict()


@pytest.fixture
def call(monkeypatch):
    """Run a module of the recipe as its line in train.sh does."""
    monkeypatch.setattr(train_space, "ImageTeacher", ImageTeacher)
    monkeypatch.setattr(train_space, "TextTeacher", TextTeacher)
    monkeypatch.setattr(train_text, "TextTeacher", TextTeacher)
    monkeypatch.setattr(train_unet, "CHECKED", 8)
    monkeypatch.setattr(perceptual, "image_weights", lite0_weights)

    def run(module, **options):
        flags = itertools.chain.from_iterable((f"--{name}", str(value)) for name, value in options.items())
        monkeypatch.setattr(sys, "argv", [module.__name__, *flags])
        module.main()

    return run


@pytest.mark.slow
def test_every_stage_runs_and_a_pack_of_the_first_ones_goes_on(tmp_path, call):
    work, few = tmp_path / "work", {"minutes": SECONDS, "batch": 2}
    data, space = {"data": work / "data"}, {"space": work / "space"}
    write_pictures(work / "data")
    call(perceptual, out=work / "lite0.safetensors")
    call(train_space, **data, out=work / "space", steps=2, processes=1)
    call(train_text, **space, out=work / "text", **few)
    call(pack, run=work, out=tmp_path / "pack.tar.xz")
    with tarfile.open(tmp_path / "pack.tar.xz") as tar:
        tar.extractall(tmp_path, filter="data")

    work = tmp_path / "rarebit-training" / "work"
    data, space = {"data": work / "data"}, {"space": work / "space"}
    call(train_movq, **data, lite0=work / "lite0.safetensors", out=work / "movq", minutes=SECONDS, batch=1)
    call(export_latents, **data, **space, movq=work / "movq", out=work / "latents")
    call(train_unet, examples=work / "latents", out=work / "unet", **few)
    call(train_guidance, examples=work / "latents", teacher=work / "unet", out=work / "guidance", **few)
    PriorTransformer(**train_prior.CONFIG).save_pretrained(work / "prior" / "prior")
    train_prior.UnCLIPScheduler(**train_prior.SCHEDULER).save_pretrained(work / "prior" / "scheduler")
    call(export, run=work, out=tmp_path / "mini")

    assert UNet2DConditionModel.from_pretrained(tmp_path / "mini/decoder/unet").config.sample_size == 16
    assert VQModel.from_pretrained(tmp_path / "mini/decoder/movq").config.latent_channels == 12


def test_pictures_of_the_families_alone_are_those_of_all(tmp_path):
    write_pictures(tmp_path / "data")
    whole, families = (Pictures.load(tmp_path / "data", 64, families_only=only) for only in (False, True))
    index = np.flatnonzero(whole.families)
    assert len(families) == len(index) == 46
    assert np.array_equal(families.rgb, whole.rgb[index])


def test_a_version_is_the_same_at_every_size():
    generator = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.rand(16, 3, 6, 6, generator=generator) * 2 - 1, size=256, mode="bilinear")
    parameters = augment.draw_parameters(16, generator)
    small = augment.apply(F.avg_pool2d(smooth, 4), parameters)
    assert (F.avg_pool2d(augment.apply(smooth, parameters), 4) - small)[..., 8:-8, 8:-8].abs().max() < 0.1


def test_plain_parameters_change_nothing_and_white_stays_white():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1
    assert torch.allclose(augment.apply(pixels, augment.plain_parameters(4)), pixels, atol=1e-4)
    white = torch.ones(64, 3, 32, 32)
    assert torch.allclose(augment.apply(white, augment.draw_parameters(64, generator)), white, atol=1e-4)


def steps(run, count):
    for _ in range(count):
        generator = torch.Generator().manual_seed(run.step)
        x = torch.randn(8, 4, generator=generator)
        run.descend((run.model(x) - x.flip(1)).square().mean(), 1e-2, 0.9)


def start(folder):
    torch.manual_seed(0)
    return Run.start(folder, nn.Linear(4, 4), weight_decay=0.1)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole, half = start(tmp_path / "whole"), start(tmp_path / "stopped")
    steps(whole, 6)
    steps(half, 3)
    half.seconds = 30.0
    half.save()
    resumed = start(tmp_path / "stopped")
    steps(resumed, 3)
    for part in ("model", "average"):
        assert torch.equal(getattr(whole, part).weight, getattr(resumed, part).weight)
    assert next(resumed.until(minutes=1)) >= 0.5
    assert not list(resumed.until(minutes=0.5))


def test_a_run_ends_when_the_held_out_loss_has_turned(tmp_path):
    run = start(tmp_path)
    assert [run.check(loss) for loss in (3.0, 2.0, 2.1, 2.2, 2.3)] == [True, True, False, False, False]
    assert next(run.until(minutes=1)) >= 0
    run.check(2.4)
    assert not list(start(tmp_path).until(minutes=1))


def test_only_missing_pieces_are_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "ROWS", 3)
    asked = []

    def squares(rows):
        asked.append(rows)
        return {"square": np.array(rows) ** 2}

    pieces.compute(tmp_path, 8, squares)
    (tmp_path / "0000003.npz").unlink()
    again = pieces.compute(tmp_path, 8, squares)
    assert asked[3:] == [range(3, 6)]
    assert again["square"].tolist() == [i**2 for i in range(8)]
