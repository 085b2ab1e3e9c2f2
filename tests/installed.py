"""What an installation has: the packages that a requirement leads to, and an interpreter without the others."""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = {"rarebit", "rarebit-mini"}

# Runs before all else; no finder of an editable installation is left.
BLOCKER = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class Present(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent!r} else super().find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Present]
"""


def declared(extra: str | None = None) -> list[Requirement]:
    """The requirements of pyproject.toml, those of the extra or what all have; the extras that it names with it."""
    found = [Requirement(text) for text in (PROJECT["dependencies"] if extra is None else EXTRAS[extra])]
    named = [name for one in found if one.name == "rarebit" for name in one.extras]
    return [one for one in found if one.name not in OURS] + [one for name in named for one in declared(name)]


def closure(requirements: Iterable[Requirement]) -> set[str]:
    """The names of all packages that these lead to here, as far as they are installed."""
    found: dict[str, set[str]] = {}
    todo = list(requirements)
    while todo:
        one = todo.pop()
        name, extras = canonicalize_name(one.name), {"", *one.extras}
        if (one.marker and not one.marker.evaluate({"extra": ""})) or extras <= found.get(name, set()):
            continue
        found[name] = found.get(name, set()) | extras
        try:
            texts = requires(name) or []
        except PackageNotFoundError:
            del found[name]
            continue
        for text in texts:
            other = Requirement(text)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras):
                other.marker = None
                todo.append(other)
    return set(found)


@cache
def modules() -> dict[str, set[str]]:
    """What can be imported, and the distributions that it may come from."""
    return {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}


def block_all_but(names: set[str], folder: Path) -> None:
    """Have Python, where PYTHONPATH begins with the folder, find no module of another distribution than these."""
    absent = {module for module, owners in modules().items() if not owners & {"rarebit", *names}}
    (folder / "sitecustomize.py").write_text(BLOCKER.format(absent=absent))
