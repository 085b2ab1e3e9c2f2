"""What an installation has: the packages that a requirement leads to, and an interpreter without the others."""

import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = {"rarebit", "rarebit-mini"}

# In the folder that PYTHONPATH begins with, it runs before all else.
BLOCKER = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
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


def block_all_but(names: set[str], folder: Path) -> None:
    """Have Python, where PYTHONPATH begins with the folder, find no package of another distribution than these."""
    owners = {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}
    absent = {module for module, of in owners.items() if not of & (names | OURS)} | {"rarebit_mini"}
    (folder / "sitecustomize.py").write_text(BLOCKER.format(absent=absent))
