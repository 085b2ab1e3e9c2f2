"""The folder that outlives the processes: queue, objects, logs and the secrets that sign URLs and webhooks."""

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.stack.child import StackError


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """The absolute `folder`, created and held by this process alone; StackError when that cannot be."""
    folder = folder.resolve()
    try:
        (folder / "valkey").mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise StackError(f"the data folder {folder} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"the data folder {folder} is in use by another rarebit") from error
        yield folder


def signing_key(folder: Path) -> str:
    """The folder's own key for signed URLs."""
    return _kept(folder / "signing_key", secrets.token_urlsafe(32))


def webhook_secret(folder: Path) -> str:
    """The folder's own secret for webhooks, which receivers verify with: `cat data/webhook_secret`."""
    return _kept(folder / "webhook_secret", f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")


def _kept(path: Path, drawn: str) -> str:
    """What the file holds, which only its owner can read; `drawn` from the first time on."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(drawn)
        draft.replace(path)
    return path.read_text()
