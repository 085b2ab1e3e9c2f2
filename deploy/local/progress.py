"""One line that moves: phase, steps, rarity so far."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ShowProgress = Callable[[str, int, int, float | None], None]


@contextmanager
def progress_bar() -> Iterator[ShowProgress]:
    """A bar on the terminal; call what it yields with phase, step, steps and rarity in bits."""
    bits_column = TextColumn("{task.fields[bits]}")
    bar = Progress(
        TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), bits_column, TimeElapsedColumn()
    )
    with bar:
        line = bar.add_task("queued", total=None, bits="")

        def show(phase: str, step: int, steps: int, rarity_bits: float | None) -> None:
            text = "" if rarity_bits is None else f"{rarity_bits:.1f} bits"
            if phase == "fit" and step == steps:  # all samples are drawn
                text = "fitting the mixture"
            bar.update(line, description=phase, completed=step, total=steps, bits=text)

        yield show
