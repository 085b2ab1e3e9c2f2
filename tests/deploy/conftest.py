"""Kandinsky 2.1 as it is published, on a hub of the tests' own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import Hub, hub_of


@pytest.fixture
def hub(published: Path, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose files the test may change."""
    with hub_of(Path(shutil.copytree(published, tmp_path / "hub")), tmp_path / "cache") as hub:
        yield hub


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Where it is pulled to."""
    return tmp_path / "data/models"
