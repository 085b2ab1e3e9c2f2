"""Kandinsky 2.1 as it is published: its parts, what of it stays in memory, and what stays precise in bfloat16."""

import gc
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from services.diffusion.density.fit import fit_density
from services.diffusion.density.subject import Subject
from services.diffusion.kandinsky.decoder import DecodeSettings, noise_of
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.kandinsky.multilingual_clip import MultilingualCLIP
from services.diffusion.optimize import Optimization
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from tests.benchmarks import full_size
from tests.benchmarks.kandinsky_2_1 import PUBLISHED, TINY, XLM_ROBERTA, build
from tests.kandinsky_as_published import DECODER, PRIOR

from diffusers import PriorTransformer, UNet2DConditionModel, VQModel  # isort: skip
from transformers import CLIPTextConfig, CLIPTextModelWithProjection  # isort: skip
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, XLMRobertaConfig  # isort: skip

SUBJECT = Subject("handbag", "a photo of a {}.")


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (lambda: PriorTransformer(**PUBLISHED.prior), 1022),
        (lambda: CLIPTextModelWithProjection(CLIPTextConfig(**PUBLISHED.text_encoder)), 124),
        (lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**PUBLISHED.image_encoder)), 304),
        (lambda: UNet2DConditionModel(**PUBLISHED.unet), 1229),
        (lambda: VQModel(**PUBLISHED.movq), 68),
        (lambda: MultilingualCLIP(XLMRobertaConfig(**XLM_ROBERTA)), 560),
    ],
    ids=["prior", "text encoder", "image encoder", "unet", "movq", "xlm-roberta"],
)
def test_the_published_parts_have_their_published_size(make: Callable[[], nn.Module], millions: int):
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in make().parameters())
    assert round(parameters / 1e6) == millions


@pytest.fixture(scope="module")
def half(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Kandinsky:
    """Kandinsky 2.1 as it is published, in bfloat16; its folder is gone."""
    folder = Path(shutil.copytree(published, tmp_path_factory.mktemp("half") / "checkpoint"))
    model = Kandinsky.load(str(folder / PRIOR), str(folder / DECODER), device="cpu", dtype=torch.bfloat16)
    shutil.rmtree(folder)
    return model


def alive(*kinds: type) -> int:
    gc.collect()
    return sum(type(thing) in kinds for thing in gc.get_objects())


def test_the_encoder_of_the_decoders_constants_is_dropped_once_it_has_run(published):
    before = alive(MultilingualCLIP)
    model = Kandinsky.load(str(published / PRIOR), str(published / DECODER), device="cpu", dtype=torch.bfloat16)
    assert alive(MultilingualCLIP) == before
    assert model.decoder.constants.negative_image_embeds.any()


def test_the_constants_in_bfloat16_are_those_of_float32(half, published):
    exact = Kandinsky.load(str(published / PRIOR), str(published / DECODER), device="cpu", dtype=torch.float32)
    for name, value in vars(half.decoder.constants).items():
        assert value.dtype == torch.bfloat16
        expected = getattr(exact.decoder.constants, name)
        assert (value - expected).norm() < 0.03 * expected.norm()


def test_in_bfloat16_a_density_is_float64_and_what_is_learnt_is_float32(half):
    density = fit_density(half, SUBJECT, samples=500, seed=0, report=lambda *_: None)
    tensors = [*vars(density.subspace).values(), *vars(density.mixture).values(), density.anchors, density.residuals]
    assert {tensor.dtype for tensor in tensors} == {torch.float64}
    space, objective = Space(half, SUBJECT, ["token", "lora"]), Objective(density, 20.0, UNSTEERED)
    run = Optimization(space, density, objective, seed=0, trials=2, count=1)
    run.measure(1)
    assert [part.dtype for part in run.parameters] == [torch.float32] * 2
    assert all(own.any() for gradient in run.optimizer.gradients for own in gradient)
    assert {half.prior.dtype, half.text_encoder.dtype, half.decoder.unet.dtype} == {torch.bfloat16}


def test_a_picture_is_decoded_in_bfloat16_without_the_folder(half):
    (image,) = half.decoder.decode(torch.ones(1, 32), noise_of([0]), DecodeSettings(64, 2, 7.5), lambda *_: None)
    assert len(image.getcolors(64 * 64)) > 1


@pytest.fixture
def benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, list[str]]]:
    """The cells of each row that the full-size benchmark prints, by the row's name."""

    def run(*arguments: str) -> dict[str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["full_size", *arguments])
        monkeypatch.setattr(full_size, "REPEATS", 1)
        full_size.main()
        table = [
            line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")
        ]
        return {name: cells for name, *cells in table[1:]}

    return run


def test_the_full_size_benchmark_measures_every_row_on_a_tiny_model(benchmark):
    rows = benchmark("--tiny")
    assert list(rows) == [
        "baseline, 500 samples",
        "optimisation step, 1 trials",
        "optimisation step, 3 trials",
        "decode at 64 px, 2 steps",
        "decode at 128 px, 2 steps",
    ]
    for seconds, tflop, *_ in rows.values():
        assert float(seconds.removesuffix(" s")) > 0
        assert float(tflop) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_full_size_benchmark_needs_a_gpu_and_says_so(benchmark):
    with pytest.raises(SystemExit, match=r"^The full-size benchmark needs a CUDA device, and there is none here\.$"):
        benchmark()


def test_a_row_that_cannot_be_measured_says_why():
    def too_large(_report: full_size.Report) -> None:
        raise torch.OutOfMemoryError

    row = full_size.Row("decode", too_large, [(too_large, 1)], 0, 0.0)
    assert full_size.line(row, full_size.Ceilings(1.0, 1.0)) == "| decode | does not fit the memory | | | | | |"


def test_a_row_whose_flops_take_long_to_count_is_timed_all_the_same(monkeypatch):
    def slow(_report: full_size.Report) -> None:
        time.sleep(0.3)

    monkeypatch.setattr(full_size, "ROW_S", 0.1)
    row = full_size.Row("decode", lambda report: report(), [(slow, 1)], 0, 0.0)
    assert full_size.line(row, full_size.Ceilings(1.0, 1.0)).startswith("| decode | 0.000 s | 0 | ")


def test_the_flops_of_a_decode_are_those_of_all_its_steps():
    model = build(TINY, "cpu")
    row = full_size.rows(model, replace(full_size.TINY_SIZE, num_inference_steps=4))[-1]
    assert sum(times * full_size.flops(run) for run, times in row.counted) == full_size.flops(row.run)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_kandinsky_2_1_fits_this_gpu(benchmark):
    for name, (seconds, tflop, share, *_) in benchmark().items():
        assert seconds.endswith(" s"), f"{name} {seconds}"
        assert float(tflop) > 0
        assert 0 < float(share.removesuffix("%")) <= 100
