"""How many jobs a worker runs at once: as many as have room for their trials."""

import threading
from collections.abc import Callable
from contextlib import suppress

from services.diffusion.generate import trials_for
from services.jobs.leases import AloneError, Claim, Leases

LOOK_S = 0.5  # between two looks at whether the worker is to stop


class Capacity:
    """For `trials` trials of all running jobs; a job is claimed while there is any room, so that one may exceed it.

    A suspect job takes all of it.
    """

    def __init__(self, trials: int) -> None:
        self._trials, self._taken = trials, 0
        self._changed = threading.Condition()

    def claim(self, leases: Leases, stopping: Callable[[], bool]) -> Claim | None:
        """The next job, once there is room for one; None when none waits, or the worker is to stop."""
        with self._changed:
            while not stopping():
                if self._taken < self._trials:
                    with suppress(AloneError):
                        if found := leases.claim(busy=self._taken > 0):
                            self._taken += self._share(found)
                        return found
                self._changed.wait(LOOK_S)
            return None

    def leave(self, claim: Claim) -> None:
        """Make room: the job runs no more."""
        with self._changed:
            self._taken -= self._share(claim)
            self._changed.notify_all()

    def _share(self, claim: Claim) -> int:
        return self._trials if claim.suspect else trials_of(claim)


def trials_of(claim: Claim) -> int:
    """How many trials the job runs side by side; the fit of a density counts as one."""
    request = claim.request
    if claim.kind == "density_model" or request.mode == "paper":
        return 1
    return request.trials or trials_for(request.count)
