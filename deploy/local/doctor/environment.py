"""The settings: whether they hold, and whether a variable is misspelt."""

import os
from collections.abc import Iterator
from difflib import get_close_matches

from deploy.local.doctor.finding import Finding, ok, warning
from services.settings import Settings

_CLIENTS = {"RAREBIT_API_KEY", "RAREBIT_URL"}  # which commands and clients read
_ALIKE = 0.8  # as difflib measures it; what others name so, as Kubernetes does for a service, is not


def look(settings: Settings) -> Iterator[Finding]:
    """The settings have been read; so what is left is what nobody has."""
    known = {f"RAREBIT_{name.upper()}" for name in Settings.model_fields} | _CLIENTS
    given = {name for name in os.environ if name.upper().startswith("RAREBIT_")}
    for name in sorted(name for name in given if name.upper() not in known):
        for meant in get_close_matches(name.upper(), known, 1, _ALIKE):
            yield warning("settings", f"there is no setting {name}", f"Write {meant}, if that is meant.")
    yield ok("settings", f"they hold, {len(given)} are given; the public URL is {settings.public_url}")
