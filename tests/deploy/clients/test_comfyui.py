"""The nodes for ComfyUI: loaded as it loads them, before running services."""

import asyncio
import json
import tomllib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rarebit_client import InvalidRequest
from rarebit_client.documents import WatchedProgress
from servers import eventually
from services import __version__
from tests.deploy.clients.comfyui import ComfyUI, InterruptProcessingException

PACK = Path("deploy/clients/comfyui").resolve()
CHAIR = {"concept": "chair", "count": 2, "bits": 3, "seed": 7}


@pytest.fixture
def comfyui(monkeypatch):
    return ComfyUI(monkeypatch)


@pytest.fixture(autouse=True)
def pack(comfyui, tmp_path):
    """In a folder of another name, as people have it."""
    folder = tmp_path / "rare.pictures"
    folder.symlink_to(PACK)
    return comfyui.load(folder)


@pytest.fixture
def run(comfyui):
    """Run a graph of one node."""

    def run(class_type, **inputs):
        return comfyui.run({"1": {"class_type": class_type, "inputs": inputs}})["1"]

    return run


def test_example_makes_the_pictures_of_its_jobs(comfyui, service, monkeypatch):
    monkeypatch.setenv("RAREBIT_URL", service.url)
    (example,) = (PACK / "example_workflows").glob("*.json")
    made = comfyui.run(comfyui.prompt_of(json.loads(example.read_text())))
    batches, jobs = zip(*(made[node_id] for node_id in ("1", "3", "5")), strict=True)
    one, variation, ladder = (json.loads(job)["request"] for job in jobs)
    assert (one["rarity"]["bits"], one["seed"], one["avoid"][0]["text"], one["toward"]) == (10, 7, "red", [])
    assert (variation["rarity"]["bits"], variation["image"]["strength"]) == (6, 0.2)
    assert ladder["rarity"]["ladder"] == [2, 5, 10]
    for batch, job, preview in zip(batches, jobs, ("2", "4", "6"), strict=True):
        assert batch.dtype == torch.float32
        seeds = [output["seed"] for output in json.loads(job)["outputs"]]
        colors = torch.tensor([[seed, 0, index] for index, seed in enumerate(seeds)]) / 255  # the stand-in's
        assert torch.equal(batch, colors[:, None, None].expand(-1, 64, 64, -1))
        assert len(made[preview]["images"]) == len(batch)


def test_node_shows_what_its_job_is_at(comfyui, pack, run, service, monkeypatch):
    """One bar that never goes back, and previews on the way."""
    monkeypatch.setenv("RAREBIT_URL", service.url)

    class Slow(pack.nodes.RarebitGenerate):
        async def run(self, concept, count):
            options = {"count": count, "steps": 10, "metadata": {"step_s": "0.05"}}
            return await pack.job.make(concept, options, avoid="", toward="")

    comfyui.nodes["Slow"] = Slow
    run("Slow", concept="chair", count=3)
    values = [shown.value for shown in comfyui.shown]
    assert (values[0], values[-1] > 80, values) == (0, True, sorted(values))
    assert {(shown.node_id, shown.total) for shown in comfyui.shown} == {("1", 100)}
    (sheet,) = (Image.open(BytesIO(shown.preview)) for shown in comfyui.shown if shown.preview)
    assert (sheet.size, sheet.format) == ((512, 512), "JPEG")


def test_bar_still_moves_when_checks_and_decodes_come_between_the_steps(comfyui, pack):
    bar, ends = pack.job.Bar(), []
    for begin in range(0, 200, 25):
        legs = [("optimize", [*range(begin, begin + 25)], 200), ("check", [0, 1], 1), ("decode", [0, 1], 1)]
        for phase, steps, total in legs:
            for step in steps:
                bar.move(WatchedProgress(phase=phase, step=step, steps=total))
        ends.append(comfyui.shown[-1].value)
    values = [shown.value for shown in comfyui.shown]
    assert (values, ends[:4]) == (sorted(values), sorted(set(ends[:4])))
    assert 90 < values[-1] <= 100


def test_cancel_in_comfyui_cancels_the_job(comfyui, run, url, alone, monkeypatch):
    """The gateway has no worker: the job waits until somebody ends it."""
    monkeypatch.setenv("RAREBIT_URL", url)

    def jobs():
        return [job.status for job in alone.jobs()]

    with ThreadPoolExecutor() as threads:
        running = threads.submit(run, "RarebitGenerate", **CHAIR)
        assert eventually(lambda: jobs() == ["queued"])
        comfyui.interrupt()
        with pytest.raises(InterruptProcessingException):
            running.result(timeout=10)
    assert jobs() == ["canceled"]


def test_what_the_service_refuses_names_the_field(run, url, alone, monkeypatch):
    monkeypatch.setenv("RAREBIT_URL", url)
    with pytest.raises(InvalidRequest, match=r"/concept: .*'!'"):
        run("RarebitGenerate", **CHAIR | {"concept": "!"})
    with pytest.raises(InvalidRequest, match="/toward/1/output: "):
        run("RarebitGenerate", **CHAIR, toward=f"blue\n\n {'0' * 32}/3 ")
    assert [*alone.jobs()] == []


def test_what_is_no_list_of_bits_is_no_ladder(run):
    with pytest.raises(ValueError, match="ladder: '2, five'"):
        run("RarebitLadder", concept="chair", count=1, ladder="2, five", seed=7)


def test_one_picture_is_varied_at_a_time(comfyui):
    node = comfyui.nodes["RarebitVary"]()
    with pytest.raises(ValueError, match=r"image: .* a batch of 3"):
        asyncio.run(node.run("chair", torch.zeros(3, 8, 8, 3), 0.5, 1, 10.0, 7))


def test_picture_that_is_varied_is_the_one_that_was_given(pack):
    pixels = np.random.default_rng(7).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    opaque = torch.cat([torch.from_numpy(pixels).float() / 255, torch.ones(1, 32, 48, 1)], dim=3)
    file = Image.open(BytesIO(pack.pictures.png_of(opaque)))
    assert np.array_equal(np.asarray(file), pixels[0])
    assert torch.equal(pack.pictures.tensor_of([file]), opaque[..., :3])


def test_pack_has_the_version_of_the_service():
    assert tomllib.loads((PACK / "pyproject.toml").read_text())["project"]["version"] == __version__
