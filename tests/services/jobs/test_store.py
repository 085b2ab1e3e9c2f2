"""Laws of the job store's function in Redis: every process means the same one."""

import os
import shutil
import subprocess
import sys

import pytest

from services.jobs.store import library


def test_processes_of_one_version_share_the_function():
    command = [sys.executable, "-c", "from services.jobs.store import library; print(library()[0])"]
    other = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == library()[0]


def test_functions_share_no_name_and_leave_none_unused(tmp_path):
    """As luacheck has it: no global but Redis' own, nothing shadowed, unused or never reached."""
    if (luacheck := shutil.which("luacheck")) is None:
        pytest.skip("there is no luacheck, which .ci/run installs where it can")
    file = tmp_path / "library.lua"
    file.write_text(library()[1].partition("\n")[2])
    command = [luacheck, str(file), "--std", "lua51", "--read-globals", "redis", "cjson", "--no-max-line-length"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
