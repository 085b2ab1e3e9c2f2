"""How a worker is, in a file that probes read: `python -m worker.health live|ready FILE` exits with 0 or says why not.

It imports nothing beside the standard library, so that a probe costs less than a tenth of a second.
"""

import os
import sys
import time
from pathlib import Path

LIVE, READY = "live", "ready"
STALE_S = 60.0  # at the least: two of the longest beats that an outage of Redis makes
_BEGUN = "the worker has not begun: it loads its models"


class Health:
    """Tells how the worker is at each heartbeat; nobody is told where there is no `path`.

    It counts as dead when it has said nothing for three beats of `interval_s`, or a minute if that is longer, and as
    ready from the moment when it consumes, with its models and densities in memory, until it is to stop.
    """

    def __init__(self, path: Path | None, interval_s: float) -> None:
        self._path = path
        self._stale_s = max(STALE_S, 3 * interval_s)
        self._consumes = False

    def consumes(self, **_: object) -> None:
        """Take Celery's signal `worker_ready`."""
        self._consumes = True

    def stops(self, **_: object) -> None:
        """Take Celery's signal `worker_shutting_down`."""
        self._consumes = False

    def tell(self, *, stalled: bool, hears: bool) -> None:
        """Of this beat: whether a run has hung, and whether Redis answered."""
        if self._path is None:
            return
        words = [] if stalled else [LIVE, READY] if self._consumes and hears else [LIVE]
        draft = self._path.with_name(f"{self._path.name}.new")
        draft.write_text("\n".join([str(os.getpid()), _began(os.getpid()), str(self._stale_s), " ".join(words)]))
        draft.replace(self._path)


def what_is_wrong(word: str, path: Path) -> str:
    """Why the worker is not what the word says; "" when it is."""
    try:
        age_s, (pid, began, stale_s, words) = time.time() - path.stat().st_mtime, path.read_text().split("\n")
    except FileNotFoundError:
        return _BEGUN
    if _began(int(pid)) != began:
        return _BEGUN  # a container that starts again has the files of the one before, and the same process number
    if age_s > float(stale_s):
        return f"the worker was last heard of {age_s:.0f} s ago"
    return "" if word in words.split() else f"the worker is not {word}: it says {words or 'that a run has hung'}"


def _began(pid: int) -> str:
    """When the process did, in ticks since the machine started; "" where it runs no more, or nobody tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def main(word: str, path: str) -> None:
    sys.exit(what_is_wrong(word, Path(path)) or 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
