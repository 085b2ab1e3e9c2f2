"""What to do when the device has too little memory: work on fewer rows at once, and let go of what failed."""

import gc
import traceback
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeVar

import torch

Row = TypeVar("Row")
Result = TypeVar("Result")

OnRows = Callable[
    [int, int, int], None
]  # the rows of which a step is done, from the first to before the last; the step
Work = Callable[[list[Row], Callable[[int], None]], list[Result]]  # of rows, saying each step of them that is done


def unseen(_first: int, _last: int, _step: int) -> None:
    """An `on_step` that sees nothing."""


class RowBatches:
    """Work on up to `size` rows at once, and from then on on half as many whenever that was more than fits."""

    def __init__(self, size: int) -> None:
        self.size = size

    def map(
        self, work: Work[Row, Result], rows: list[Row], _like: Hashable = None, on_step: OnRows = unseen
    ) -> list[Result]:
        """A result for each row, in order; the error when a single row does not fit."""
        results: list[Result] = []
        while len(results) < len(rows):
            first = len(results)
            batch = rows[first : first + self.size]
            try:
                results += work(batch, partial(on_step, first, first + len(batch)))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batch) == 1:
                    raise
                self.size = len(batch) // 2
                free_memory(error)
        return results


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the machine had no memory left; PyTorch's CPU allocator has no exception of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: " in str(error)


def free_memory(error: Exception) -> None:
    """Let go of what the work that met `error` held, so that the next has the memory to itself."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
