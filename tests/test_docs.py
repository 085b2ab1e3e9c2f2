"""What the pages for contributors name is there."""

import re
from pathlib import Path

import pytest

from services.jobs.record import TRANSITIONS

ROOT = Path(__file__).parents[1]
PAGES = ("CONTRIBUTING.md", "docs/architecture.md")


@pytest.mark.parametrize("page", PAGES)
def test_files_and_folders_that_a_page_names_are_there(page):
    named = re.findall(r"`((?:api|deploy|docs|services|tests|worker)/[\w./]*)`", (ROOT / page).read_text())
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_picture_of_a_jobs_states_has_the_transitions_that_there_are():
    _, _, diagram = (ROOT / "docs/architecture.md").read_text().partition("stateDiagram")
    drawn = re.findall(r"^  (\w+) --> (\w+)", diagram, re.MULTILINE)
    assert sorted(drawn) == sorted((str(old), str(new)) for old, states in TRANSITIONS.items() for new in states)
