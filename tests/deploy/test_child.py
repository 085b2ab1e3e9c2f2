import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from deploy.local.stack.child import Child, StackError

PARENT = """
import sys, time
from pathlib import Path
from deploy.local.stack.child import Child
child = Child("sleeper", ["sleep", "60"], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(60)
"""

INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from deploy.local.stack.child import Child

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
try:
    Child("sleeper", ["sleep", "60"], log=Path(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is a signal on Linux only")
def test_child_ends_when_its_parent_is_killed(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
    child.wait(timeout=5)


def test_signal_that_comes_in_the_middle_of_a_start_is_heard(tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "log")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout == "interrupted\n"


def test_child_that_ended_is_reported_with_its_last_words(tmp_path):
    log = tmp_path / "log"
    log.write_text("words of an earlier run\n")
    child = Child("worker", ["sh", "-c", "echo no luck; exit 3"], log=log)
    with pytest.raises(StackError, match="the worker ended with exit code 3: no luck"):
        _check_until_ended(child)


def test_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path):
    child = Child("deaf", ["sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait; wait"], log=tmp_path / "log")
    while "ready" not in (tmp_path / "log").read_text():
        time.sleep(0.01)
    child.stop(grace_s=0.2)
    with pytest.raises(StackError, match="exit code -9"):
        child.check()


def _check_until_ended(child):
    while True:
        child.check()
        time.sleep(0.01)
