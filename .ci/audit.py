"""`make audit`: known vulnerabilities of the locked packages, by PyPI's advisories; exit code 1 for any.

Where the advisories cannot be asked, offline or behind a mirror that has none, it says that nothing was audited and
ends with 0: a check that fails for want of a network gets switched off.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

NOTHING = "NOT AUDITED: "
OPTIONS = ("--format", "json", "--progress-spinner", "off")


def main() -> None:
    locked = ["--requirement", str(Path(__file__).parents[1] / "constraints.txt"), "--no-deps", "--disable-pip"]
    command = [str(Path(sys.executable).with_name("pip-audit")), *locked, *OPTIONS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        sentence, code = verdict(json.loads(ended.stdout)["dependencies"])
    except ValueError:
        last_words = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        sentence, code = f"{NOTHING}pip-audit could not ask for advisories: {last_words}", 0
    print(sentence)
    sys.exit(code)


def verdict(packages: list[dict[str, Any]]) -> tuple[str, int]:
    """What to say about pip-audit's findings, and the exit code."""
    known = [package for package in packages if "vulns" in package]
    found = [f"{one['name']} {one['version']}: {vuln['id']}" for one in known for vuln in one["vulns"]]
    if found:
        return "\n".join(found), 1
    if not known:
        return f"{NOTHING}the package index has no advisories for any of {len(packages)} packages", 0
    unknown = [package["name"] for package in packages if package not in known]
    return f"{len(known)} packages without known vulnerabilities; not audited: {', '.join(unknown) or 'none'}", 0


if __name__ == "__main__":
    main()
