"""`rarebit`: the command line for people."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import httpx
import typer
from services.errors import ServiceError

from deploy.local.child import StackError
from deploy.local.client import JobFailed
from deploy.local.demo import run_demo
from deploy.local.stack import running

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Concept = Annotated[str, typer.Argument(help="The noun phrase to be creative about.")]
Count = Annotated[int, typer.Option(min=1, max=16, help="Images wanted.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")]
Data = Annotated[Path, typer.Option(help="Folder that keeps queue, pictures and density models.")]


@app.command()
def serve(port: Annotated[int, typer.Option(min=0, max=65535)] = 8000, data: Data = Path("data")) -> None:
    """Run the whole service in the foreground until Ctrl-C."""
    with _one_sentence(), running(data, port) as stack:
        print(
            f"Rarebit is ready at {stack.url} (contract at /docs, data and logs in {data}); Ctrl-C stops it.",
            flush=True,
        )
        with suppress(KeyboardInterrupt):
            stack.wait()


@app.command()
def demo(concept: Concept = "handbag", count: Count = 4, out: Out = Path("out")) -> None:
    """Send one job through the whole service and compare its pictures with plain samples."""
    with _one_sentence():
        for path in run_demo(concept, count, out):
            print(path)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """End on a signal without a traceback, and on an expected failure with one sentence and exit code 1."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (StackError, JobFailed, ServiceError, httpx.HTTPError) as error:
        print(f"rarebit: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
