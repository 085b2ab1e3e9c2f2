"""Laws of the job store's function in Redis: every process means the same one."""

import os
import subprocess
import sys

from services.jobs.store import library


def test_processes_of_one_version_share_the_function():
    command = [sys.executable, "-c", "from services.jobs.store import library; print(library()[0])"]
    other = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == library()[0]
