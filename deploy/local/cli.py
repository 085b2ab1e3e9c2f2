"""`rarebit`: the command line for people."""

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from deploy.local.doctor.command import examine
from deploy.local.extras import needing
from deploy.local.models.commands import commands as model_commands
from deploy.local.operators import administration, lists
from deploy.local.operators.reconcile import reconcile
from deploy.local.operators.top import top
from deploy.local.planning.command import plan
from deploy.local.progress import progress_bar
from deploy.local.sentence import one_sentence
from services import __version__
from services.bounds import OUTPUTS, STRENGTH
from services.jobs.request import JobRequest, Rarity
from services.texts.concepts import DEFAULT_PROMPT

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Concept = Annotated[str, typer.Argument(help="The noun phrase to be creative about.")]
Count = Annotated[int, typer.Option(min=1, max=OUTPUTS, help="Images wanted.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")]
Ladder = Annotated[str | None, typer.Option(help="Rungs in bits, 2,5,10: a picture at each.")]
Mode = Literal["calibrated", "paper"]
ReportOut = Annotated[Path, typer.Option("--out", "-o", help="Folder for the page, its pictures and figures.")]
Data = Annotated[Path, typer.Option(help="Folder that keeps queue, pictures and density models.")]


class Wish(NamedTuple):
    """Words or a path, and how much they count."""

    named: str
    weight: float


def weighed(wish: str) -> Wish:
    """What is named, and its weight, 0 to 2, which stands behind a "::"."""
    named, mark, weight = wish.rpartition("::")
    if not mark:
        return Wish(wish, 1.0)
    with suppress(ValueError):
        if 0 <= float(weight) <= 2:
            return Wish(named, float(weight))
    raise typer.BadParameter(f"{weight!r} is no weight from 0 to 2")


Wishes = list[Wish] | None


def _print_version(asked: bool) -> None:
    if asked:
        print(f"rarebit {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and exit.")]


@app.callback()
def rarebit(version: Version = False) -> None:
    """Rarity-guided images: the service, its processes, and the sampler without a server."""


@app.command()
def serve(port: Annotated[int, typer.Option(min=0, max=65535)] = 8000, data: Data = Path("data")) -> None:
    """Run the whole service in the foreground until Ctrl-C."""
    with one_sentence():
        with needing("embedded"):
            from deploy.local.stack.service import running
        with running(data, port) as stack:
            where = f"studio at /, guide at /guide, data and logs in {data}"
            print(f"Rarebit is ready at {stack.url} ({where}); Ctrl-C ends it.", flush=True)
            with suppress(KeyboardInterrupt):
                stack.wait()


@app.command()
def gateway(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    fd: Annotated[int | None, typer.Option(help="A listening socket to take in place of both.")] = None,
) -> None:
    """Run one gateway until SIGTERM, as the RAREBIT_ variables have it."""
    from api.main import main  # the worker's container has no gateway

    main(host, port, fd)


@app.command()
def worker(
    model: Annotated[
        str | None, typer.Option(help="Whose jobs it takes, one of RAREBIT_MODELS; RAREBIT_MODEL.")
    ] = None,
) -> None:
    """Run one worker until SIGTERM, as the RAREBIT_ variables have it."""
    with needing("worker"):
        from worker.app import main  # torch only for the commands that sample
    main(model)


@app.command()
def mcp(url: Annotated[str | None, typer.Option(help="The service; RAREBIT_URL, else this machine's.")] = None) -> None:
    """Let an assistant use a running service, by the Model Context Protocol over stdin and stdout."""
    with needing("mcp"):
        from deploy.local.assistants import serve as serve_assistant
    serve_assistant(url)


@app.command()
def demo(concept: Concept = "handbag", count: Count = 4, ladder: Ladder = None, out: Out = Path("out")) -> None:
    """Send one job through the whole service and compare its pictures with plain samples."""
    with one_sentence():
        rarity = Rarity(ladder=_rungs(ladder)) if ladder else Rarity(percentile=99.9)
        JobRequest(concept=concept, count=count, rarity=rarity)  # or nothing is started
        with needing("embedded"):
            from deploy.local.demo import run_demo
        print(*run_demo(concept, count, rarity, out), sep="\n")


@app.command()
def generate(
    concept: Concept,
    count: Count = 1,
    bits: Annotated[float | None, typer.Option(min=1, max=30, help="Target rarity in bits.")] = None,
    percentile: Annotated[float | None, typer.Option(min=50, max=99.999, help="Or as a percentile (99.9).")] = None,
    ladder: Ladder = None,
    mode: Annotated[Mode, typer.Option(help="paper: one trial, as published.")] = "calibrated",
    space: Annotated[list[str] | None, typer.Option(help="token, adjective or lora; again for more.")] = None,
    avoid: Annotated[
        Wishes,
        typer.Option(parser=weighed, metavar="WISH", help="Words or a picture to stay away from: red, red::0.5."),
    ] = None,
    toward: Annotated[
        Wishes,
        typer.Option(parser=weighed, metavar="WISH", help="Words or a picture to lean to; ::0 to ::2 is its weight."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="A sentence with {} for the concept.")] = DEFAULT_PROMPT,
    found: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Draw this picture's thing again, in the prompt."),
    ] = None,
    image: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Vary this picture.")] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="How far from it: 0 the same, 1 only its family.")
    ] = STRENGTH,
    variety: Annotated[float, typer.Option(min=0, max=1, help="0: the most valid ones, 1: the most different.")] = 0.0,
    exposure: Annotated[Path | None, typer.Option(help="File of what was seen: steer away from it, add to it.")] = None,
    size: Annotated[str | None, typer.Option(help="Pixels, 512 or 768x512; the model's own when left out.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws one when left out.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Optimisation steps at most.")] = 50,
    trials: Annotated[int | None, typer.Option(min=1, max=64, help="Rows side by side.")] = None,
    out: Out = Path("out"),
    data: Data = Path("data"),
) -> None:
    """Run the sampler in this process, without a server."""
    with one_sentence():
        targets = {"bits": bits, "percentile": percentile, "ladder": _rungs(ladder) if ladder else None}
        rarity = Rarity(**targets if any(targets.values()) else {"percentile": 99.9})
        options: dict[str, Any] = {"mode": mode, "size": None if size is None else pixels(size)}
        options |= {"space": space} if space else {}
        asked = JobRequest(
            concept=concept,
            prompt=prompt,
            count=count,
            rarity=rarity,
            seed=seed,
            steps=steps,
            trials=trials,
            variety=variety,
            **options,
        )
        if found and (avoid or toward or image or asked.optimised):
            raise typer.BadParameter("what is found is drawn again, with nothing to optimise", param_hint="--found")
        request = asked.accepted(seed=secrets.randbelow(2**32))
        with needing("embedded"):
            from deploy.local.making import make
        start = None if image is None else (image, strength)
        made = make(request, avoid or [], toward or [], image=start, found=found, exposure=exposure, data=data, out=out)
        print(*made, sep="\n")


def _rungs(ladder: str) -> list[float]:
    try:
        return [float(bits) for bits in ladder.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{ladder!r} is no list of bits such as 2,5,10", param_hint="--ladder") from error


def pixels(size: str) -> int | dict[str, int]:
    """An edge, or the sides that have an "x" between them, as a request has them."""
    width, cross, height = size.partition("x")
    try:
        return {"width": int(width), "height": int(height)} if cross else int(width)
    except ValueError as error:
        raise typer.BadParameter(f"{size!r} is no size such as 512 or 768x512", param_hint="--size") from error


@app.command()
def replay(
    figures: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Its JSON.")],
    found: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="What it was drawn of, with --found."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to save it.")] = Path("replay.png"),
    data: Data = Path("data"),
) -> None:
    """Make a picture again, bit for bit on the same machine, from its `replay` block alone."""
    with one_sentence():
        with needing("embedded"):
            from deploy.local.making import make_again
        print(make_again(figures, found=found, data=data, out=out))


@app.command()
def fit(concepts: Annotated[list[str], typer.Argument()], data: Data = Path("data")) -> None:
    """Fit the density models of concepts ahead of time."""
    with one_sentence(), progress_bar() as show:
        with needing("embedded"):
            from deploy.local import in_process
            from services.diffusion.density.subject import Subject
        models = in_process.load(data)
        for concept in concepts:
            in_process.density(models, Subject(concept, DEFAULT_PROMPT), show)


@app.command()
def densities(
    concepts: Annotated[list[str], typer.Argument()],
    out: ReportOut = Path("report"),
    data: Data = Path("data"),
) -> None:
    """Measure and draw how far the density models of concepts hold."""
    with one_sentence():
        with needing("evaluate"):
            from deploy.local.densities.pages import report_densities
            from deploy.local.in_process import load
        with progress_bar() as show:
            page = report_densities(load(data), concepts, out, show)
        print(page)


@app.command()
def evaluate(
    methods: Annotated[str, typer.Option(help="Names from the table in deploy/evaluate/methods.py.")] = (
        "plain,creative,best-of-n,conceptlab,paper,calibrated"
    ),
    concepts: Annotated[str, typer.Option(help="Noun phrases, with commas between them.")] = "handbag,chair,lamp,cup",
    images: Annotated[int, typer.Option(min=2, max=16, help="Images of each call.")] = 16,
    seeds: Annotated[int, typer.Option(min=1, help="Calls for each method and concept, each of its own seed.")] = 3,
    percentile: Annotated[float, typer.Option(min=50, max=99.999, help="Target rarity.")] = 99.9,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Optimisation steps of ours at most.")] = 50,
    published_steps: Annotated[int, typer.Option(min=1, help="Those of the paper's and ConceptLab at most.")] = 1000,
    reference: Annotated[int, typer.Option(min=2, help="Samples of either kind that teach the judge.")] = 64,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report; what it has is not done again.")] = (
        Path("report")
    ),
    data: Data = Path("data"),
) -> None:
    """Compare ways of sampling; several processes may work on one report at once."""
    with one_sentence():
        with needing("evaluate"):
            from deploy.evaluate.plan import Plan
            from deploy.evaluate.run import evaluate as run
        words = (methods.split(","), concepts.split(","))
        plan = Plan(*words, images, seeds, percentile, steps, published_steps, reference)
        with progress_bar() as show:
            page = run(plan, out, data, show)
        print(page)


app.command("doctor")(examine)
app.command("plan")(plan)
app.command("reconcile")(reconcile)
app.command("jobs")(lists.list_jobs)
app.command("workers")(lists.list_workers)
app.command("pools")(lists.list_pools)
app.command("top")(top)
app.command("density-models")(lists.list_densities)
app.add_typer(administration.keys, name="keys")
app.add_typer(administration.quarantine, name="quarantine")
app.add_typer(model_commands, name="models")
