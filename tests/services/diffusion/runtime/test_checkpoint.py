"""A checkpoint from a stranger is refused before a line of it runs; what is loaded is no larger than it must be."""

import json
import pickle
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch
from diffusers import PriorTransformer
from transformers import AutoTokenizer, CLIPTextModelWithProjection

from services.diffusion.checkers.open_clip import OpenClipChecker
from services.diffusion.kandinsky.model import Kandinsky
from services.diffusion.runtime.checkpoint import load_config, load_model
from services.errors import CheckpointError

MINI = Path(__file__).parents[4] / "deploy/checkpoints/rarebit-mini"


class Trap:
    """Makes the file `marker` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self):
        return Path.touch, (self._marker,)


@pytest.fixture
def marker(tmp_path):
    """A file that is not there at the end of the test."""
    yield tmp_path / "code was run"
    assert not (tmp_path / "code was run").exists()


def test_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("kind", "part", "weights"),
    [
        (PriorTransformer, "prior", "diffusion_pytorch_model"),
        (CLIPTextModelWithProjection, "text_encoder", "pytorch_model"),
    ],
)
def test_pickled_weights_are_not_loaded(tmp_path, marker, kind, part, weights):
    (tmp_path / part).mkdir()
    shutil.copy(MINI / "prior" / part / "config.json", tmp_path / part)
    (tmp_path / part / f"{weights}.bin").write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(CheckpointError, match="cannot load"):
        load_model(kind, tmp_path, part, "cpu", torch.float32)


def test_pickled_scorer_is_not_loaded(tmp_path, marker):
    for name in ("open_clip_config.json", "nouns.json"):
        shutil.copy(MINI / "scorer" / name, tmp_path)
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(CheckpointError, match=r"open_clip_model\.safetensors"):
        OpenClipChecker.load(str(tmp_path), device="cpu")


def test_code_in_a_checkpoint_is_not_run_even_if_somebody_would_agree(tmp_path, marker, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: ...\n")
    document = {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError):
        load_config(AutoTokenizer, tmp_path, "tokenizer")


@pytest.mark.parametrize("size", [64, 320, 768])
def test_the_embedded_model_makes_every_size_that_the_gateway_takes(size):
    decoder = Kandinsky.load(str(MINI / "prior"), str(MINI / "decoder"), device="cpu", dtype=torch.float32).decoder
    assert decoder.settings(size, None, None).size == size


def memory_bytes():
    """What the process holds beside the pages of files."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_made_weight_by_weight(tmp_path, dtype):
    """The float32 file is never in memory as a whole, let alone beside its half."""
    PriorTransformer(num_attention_heads=16, attention_head_dim=64, num_layers=4).save_pretrained(tmp_path / "prior")
    size = (tmp_path / "prior/diffusion_pytorch_model.safetensors").stat().st_size
    seen, loaded = [memory_bytes()], threading.Event()

    def watch():
        while not loaded.wait(0.001):
            seen.append(memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    model = load_model(PriorTransformer, tmp_path, "prior", "cpu", dtype)
    loaded.set()
    watcher.join()
    assert model.dtype == dtype
    assert max(seen) - seen[0] < 0.65 * size
