"""A process that ends is started again, unless it never gets ready."""

import os
import signal
import time
from contextlib import suppress

import pytest

from deploy.local.stack import supervised
from deploy.local.stack.child import Child, StackError
from deploy.local.stack.service import Stack
from deploy.local.stack.supervised import TRIES, Supervised
from servers import eventually


@pytest.fixture
def start(tmp_path):
    """A process of the shell, and all of its kind that were started."""
    started = []

    def start(script):
        started.append(Child("worker", ["sh", "-c", script], log=tmp_path / "log"))
        return started[-1]

    start.all, start.log = started, tmp_path / "log"
    yield start
    for child in started:
        child.stop(grace_s=1)


def tend_until(process, holds):
    def tended():
        process.tend()
        return holds()

    assert eventually(tended)


def test_killed_process_is_started_again_at_once_with_a_line(start, capsys):
    process = Supervised(lambda: start("echo at work; sleep 60"), lambda: True)
    assert eventually(lambda: start.log.read_text() == "at work\n")
    begin = time.monotonic()
    os.kill(process.child.pid, signal.SIGKILL)
    tend_until(process, lambda: len(start.all) == 2)
    assert time.monotonic() - begin < supervised.LONGEST_PAUSE_S / 30
    assert process.child.how_it_ended() == ""
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("the worker ended with exit code -9: at work (log: ")
    assert line.endswith("it is started again now")


def test_pause_before_a_start_grows_until_the_process_is_steady(start, capsys, monkeypatch):
    process = Supervised(lambda: start("exit 3" if len(start.all) < 3 else "sleep 60"), lambda: True)
    tend_until(process, lambda: len(start.all) == 4)
    monkeypatch.setattr(supervised, "STEADY_S", 0)
    for _ in range(3):
        process.tend()
    os.kill(process.child.pid, signal.SIGKILL)
    tend_until(process, lambda: len(start.all) == 5)
    pauses = [line.rpartition("started again ")[2] for line in capsys.readouterr().out.splitlines()]
    assert pauses == ["now", "in 1 s", "in 2 s", "now"]


def test_process_that_ends_again_and_again_before_it_is_ready_ends_it_with_the_reason(start, monkeypatch):
    monkeypatch.setattr(supervised, "LONGEST_PAUSE_S", 0.01)
    process = Supervised(lambda: start("echo no luck; exit 3"), lambda: False)
    with pytest.raises(StackError, match=rf"worker ended with exit code 3: no luck .*started {TRIES} times"):
        tend_until(process, lambda: False)
    assert len(start.all) == TRIES


def test_process_that_was_ready_each_time_is_never_given_up(start, monkeypatch):
    monkeypatch.setattr(supervised, "LONGEST_PAUSE_S", 0.01)
    process = Supervised(lambda: start("sleep 0.1"), lambda: True)
    tend_until(process, lambda: process.is_ready() and len(start.all) > 2 * TRIES)


def test_while_others_start_what_was_ready_is_started_again_and_what_never_was_is_not(start):
    ready, failed = (Supervised(lambda: start("sleep 60"), lambda at=at: at) for at in (True, False))
    stack = Stack("", "", [ready])
    stack.check()
    os.kill(ready.child.pid, signal.SIGKILL)
    assert eventually(lambda: stack.check() or len(start.all) == 3)
    stack.processes.append(failed)
    os.kill(failed.child.pid, signal.SIGKILL)
    with pytest.raises(StackError, match="the worker ended with exit code -9"):
        eventually(stack.check)


def test_what_is_said_to_a_terminal_that_is_gone_ends_nothing(start, monkeypatch):
    with suppress(OSError), open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        process = Supervised(lambda: start("exit 3"), lambda: True)
        tend_until(process, lambda: len(start.all) == 2)
        monkeypatch.undo()
    assert len(start.all) == 2
