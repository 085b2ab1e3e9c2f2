"""Whatever stands in the way of a start is said in one sentence, with a non-zero exit code."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from deploy.local.cli import pixels, weighed
from servers import SIGNING_KEY


def rarebit(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("rarebit")), *words]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=300, check=False)


def assert_one_sentence(run: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert run.returncode == 1
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert all(part in run.stderr for part in parts), run.stderr


def test_taken_port_is_named(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        run = rarebit("serve", "--port", str(port), "--data", str(tmp_path / "data"))
    assert_one_sentence(run, f"port {port} cannot be used", "in use")


def test_data_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    run = rarebit("serve", "--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert_one_sentence(run, str(tmp_path / "file" / "data"), "cannot be written")


def test_service_that_cannot_become_ready_says_why_at_once(tmp_path):
    (tmp_path / "objects").touch()
    run = rarebit("serve", "--port", "0", "--data", str(tmp_path))
    assert_one_sentence(run, "the gateway is not ready: .check/0 cannot be written: Not a directory")


@pytest.mark.parametrize("state", ["missing", "corrupt"])
def test_checkpoint_that_cannot_be_loaded_is_named(tmp_path, state):
    prior = tmp_path / "prior"
    if state == "corrupt":
        for part in ("tokenizer", "text_encoder", "prior", "scheduler"):
            (prior / part).mkdir(parents=True)
            (prior / part / "config.json").write_text("{")
    run = rarebit("serve", "--port", "0", "--data", str(tmp_path / "data"), RAREBIT_PRIOR=str(prior))
    assert_one_sentence(run, "the worker ended with exit code 1", "cannot load", str(prior))


def test_a_wish_has_its_weight_behind_two_colons():
    assert [weighed(wish) for wish in ("dark red", "red::0.5", "a::b::2")] == [
        ("dark red", 1),
        ("red", 0.5),
        ("a::b", 2),
    ]
    for wish in ("red::2.1", "red::-1", "red::nan", "red::much"):
        with pytest.raises(typer.BadParameter, match="is no weight from 0 to 2"):
            weighed(wish)


def test_two_targets_at_once_are_refused(tmp_path):
    run = rarebit("generate", "handbag", "--bits", "3", "--percentile", "99", "--data", str(tmp_path))
    assert run.returncode == 2
    assert run.stderr == "rarebit: give exactly one of percentile, bits and ladder\n"


def test_a_ladder_that_falls_is_refused_at_its_rung_and_nothing_is_started(tmp_path):
    run = rarebit("demo", "--ladder", "2,5,4", "--out", str(tmp_path))
    assert run.returncode == 2
    assert run.stderr == "rarebit: ladder 2 is 4.0 after 5.0, needs to be half a bit above it at least\n"
    assert not any(tmp_path.iterdir())


def test_words_and_options_that_cannot_be_are_named(tmp_path):
    run = rarebit("generate", "", "--count", "4", "--trials", "2", "--space", "hat", "--data", str(tmp_path))
    assert run.returncode == 2
    assert run.stderr.splitlines() == [
        "rarebit: concept is empty",
        "rarebit: space 0 has to be one of 'token', 'adjective' or 'lora'",
        "rarebit: trials is less than count, 4: each image has a trial",
    ]


def test_a_size_that_cannot_be_is_told_at_its_side(tmp_path):
    run = rarebit("generate", "cup", "--size", "768x192", "--data", str(tmp_path))
    words = "size width is 768, has to be 3 times the other side, 192, at most"
    assert (run.returncode, run.stderr) == (2, f"rarebit: {words}\n")


def test_a_size_is_an_edge_or_two_sides():
    assert [pixels(size) for size in ("512", "768x512")] == [512, {"width": 768, "height": 512}]
    for size in ("768x", "x", "large", "1x2x3"):
        with pytest.raises(typer.BadParameter, match=f"'{size}' is no size such as 512 or 768x512"):
            pixels(size)


def test_folder_for_the_pictures_that_cannot_be_is_named_before_the_run(tmp_path):
    (tmp_path / "out").touch()
    run = rarebit("generate", "handbag", "--out", str(tmp_path / "out"), "--data", str(tmp_path / "data"))
    assert_one_sentence(run, "File exists", str(tmp_path / "out"))
    assert not (tmp_path / "data").exists()


def test_unknown_method_is_named(tmp_path):
    run = rarebit("evaluate", "--methods", "plain,magic", "--out", str(tmp_path), "--data", str(tmp_path))
    assert_one_sentence(run, "no method magic", "calibrated")


def test_worker_serves_the_model_that_it_is_told_to():
    run = rarebit("worker", "--model", "large", RAREBIT_SIGNING_KEY=SIGNING_KEY, RAREBIT_MODEL="rarebit")
    assert_one_sentence(run, "RAREBIT_MODEL=large is none of RAREBIT_MODELS, rarebit: gateways take no jobs for it")
