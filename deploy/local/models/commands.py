"""`rarebit models`: checkpoints of the hub, kept in the data folder so that no worker needs a network."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.local.extras import needing
from deploy.local.models.pulled import commit_of, damaged_files, pulled_folders, size_of
from deploy.local.sentence import one_sentence
from deploy.local.stack.child import StackError

Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="owner/name, or owner/name@revision to pin it.")]
Data = Annotated[Path, typer.Option(envvar="RAREBIT_DATA_DIR", help="The service's data folder.")]

commands = typer.Typer(no_args_is_help=True, help="Checkpoints of the hub, kept for workers without a network.")


@commands.command("pull")
def pull_models(names: Names, data: Data = Path("data")) -> None:
    """Fetch repositories and verify them; what was broken off goes on. The weights of pipelines become bfloat16."""
    with one_sentence():
        with needing("worker"):
            from deploy.local.models.pulling import pull  # torch only for the command that converts
        for name in names:
            print(pull(name, data / "models"))


@commands.command("list")
def list_models(data: Data = Path("data")) -> None:
    """Print each name, as RAREBIT_PRIOR and the others take it, with its commit and its size."""
    for folder in pulled_folders(data / "models"):
        name = folder.relative_to(data / "models")
        print(name, commit_of(folder), f"{size_of(folder) / 1e9:.2f} GB", sep="\t")


@commands.command("verify")
def verify_models(data: Data = Path("data")) -> None:
    """Compare every file with what was pulled; needs no network."""
    with one_sentence():
        damaged = [folder / path for folder in pulled_folders(data / "models") for path in damaged_files(folder)]
        if damaged:
            names = ", ".join(map(str, damaged))
            raise StackError(f"not as they were pulled (erase their folders and pull again): {names}")
