"""A child process that ends with its parent, whatever ends the parent."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

RAREBIT = (sys.executable, "-m", "deploy.local")  # the command, as this Python has it
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


class StackError(Exception):
    """One sentence for the person at the terminal; never shown with a traceback."""


@contextmanager
def _heard_afterwards(*numbers: int) -> Iterator[set[int]]:
    """Signals that come meanwhile wait; yields the mask that was before. What a handler raises in a fork is lost."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _tied_to_parent(death_signal: int, mask: set[int]) -> Callable[[], None]:
    """What a forked child runs before exec; Linux only, elsewhere a killed parent leaves its children running."""
    parent = os.getpid()

    def tie() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if sys.platform == "linux":
            _libc.prctl(_PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # the parent died between fork and prctl
                os._exit(1)

    return tie


class Child:
    """One named process in a session of its own, so that Ctrl-C reaches only the parent; its output goes to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        death_signal: int = signal.SIGKILL,
    ) -> None:
        self.name = name
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output, _heard_afterwards(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as mask:
            self._process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=_tied_to_parent(death_signal, mask),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def how_it_ended(self) -> str:
        """A sentence with the child's last words; "" while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        return f"the {self.name} ended with exit code {code}: {self._last_line()} (log: {self._log})"

    def check(self) -> None:
        """Raise StackError with the child's last words when it has ended."""
        if sentence := self.how_it_ended():
            raise StackError(sentence)

    def stop(self, grace_s: float) -> None:
        """End the process: SIGTERM, then SIGKILL after `grace_s` seconds."""
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_line(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
