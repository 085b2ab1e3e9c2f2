"""What commands say: while they run a line each time, on a signal no traceback, on an expected failure one sentence."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer
from pydantic import ValidationError
from redis.exceptions import RedisError

from deploy.local.stack.child import StackError
from rarebit_client import RarebitError
from services.errors import ServiceError
from services.texts.words import in_words


@contextmanager
def one_sentence() -> Iterator[None]:
    """End on a signal without a traceback, and on an expected failure with one sentence and exit code 1."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ValidationError as error:
        for problem in error.errors():
            print(" ".join(["rarebit:", *map(str, problem["loc"]), in_words(problem)]), file=sys.stderr)
        raise typer.Exit(2) from None
    except (StackError, RarebitError, ServiceError, RedisError, OSError) as error:
        print(f"rarebit: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def say(line: str) -> None:
    """Print it at once; a terminal that is gone ends nothing."""
    with suppress(OSError):
        print(line, flush=True)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
