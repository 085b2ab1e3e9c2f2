"""The command: a line for each finding, as they come."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deploy.local.doctor import device, environment, queue, store, webhooks, weights
from deploy.local.doctor.finding import Finding, failure
from deploy.local.sentence import one_sentence
from services.errors import SettingsError
from services.settings import Settings

_LOOKS = (environment, queue, store, weights, device, webhooks)
_STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def examine(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Look for what keeps the service of the RAREBIT_ variables from working; exit code 1 if something does."""
    found = []
    with one_sentence():
        for finding in findings():
            found.append(finding)
            if not as_json:
                _show(finding)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], ensure_ascii=False, indent=1))
    if any(finding.state == "failure" for finding in found):
        raise typer.Exit(1)


def findings() -> Iterator[Finding]:
    """All that there is to find; without settings that hold, no more than that."""
    try:
        settings = Settings.read()
    except SettingsError as error:
        yield failure("settings", str(error), "Correct these variables; README.md and services/settings.py have all.")
        return
    logging.disable(logging.WARNING)  # what the parts would log is in what they find
    try:
        for part in _LOOKS:
            yield from part.look(settings)
    finally:
        logging.disable(logging.NOTSET)


def _show(finding: Finding) -> None:
    line = Text.assemble((f"{finding.state:8}", _STYLES[finding.state]), f"{finding.what:11}", finding.told)
    console = Console(soft_wrap=True, highlight=False)
    console.print(line)
    if finding.do:
        console.print(Text(19 * " " + finding.do))
