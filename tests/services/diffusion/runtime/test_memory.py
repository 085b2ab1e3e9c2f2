"""Laws of too little memory, on a device that has it: this process, with a limit on its address space."""

import multiprocessing
import resource
import sys
from functools import partial

import psutil
import pytest
import torch

from services.diffusion.density.subject import Subject
from services.diffusion.optimize import Optimization
from services.diffusion.runtime.memory import RowBatches, is_out_of_memory
from services.diffusion.steering.clusters import UNSTEERED
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from services.texts.concepts import DEFAULT_PROMPT

SUBJECT = Subject("handbag", DEFAULT_PROMPT)
ROOM = 256 * 2**20


def allocate(bytes_for_each, rows, _tell):
    torch.empty(bytes_for_each * len(rows), dtype=torch.uint8)
    return rows


def with_little_room(work):
    """What `work` gives in a fork that may take ROOM bytes more than this process has."""

    def run(send):
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + ROOM,) * 2)
        send.send(work())

    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=run, args=(send,))
    child.start()
    assert receive.poll(60)
    child.join()
    return receive.recv()


limited = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space of a process")


@limited
def test_rows_that_do_not_fit_together_are_halved_until_they_do():
    def work():
        batches = RowBatches(16)
        rows = batches.map(partial(allocate, ROOM // 3), list(range(16)))
        return rows, batches.size

    assert with_little_room(work) == (list(range(16)), 2)


@limited
def test_a_row_that_does_not_fit_alone_is_out_of_memory():
    def work():
        try:
            RowBatches(16).map(partial(allocate, 2 * ROOM), list(range(16)))
        except RuntimeError as error:
            return is_out_of_memory(error)

    assert with_little_room(work) is True


def test_other_errors_are_not_tried_again():
    looks = []

    def work(rows, _tell):
        looks.append(rows)
        raise RuntimeError("the shapes differ")

    with pytest.raises(RuntimeError, match="the shapes differ"):
        RowBatches(4).map(work, [1, 2, 3])
    assert looks == [[1, 2, 3]]


def test_trials_in_parts_move_as_trials_together_do(model, density):
    """Also when a part fails after it has left some gradients."""
    space, objective = Space(model, SUBJECT, ["lora"]), Objective(density, 12.0, UNSTEERED)
    whole, parts = (Optimization(space, density, objective, seed=0, trials=6, count=6) for _ in range(2))
    sample, asked = space.sample, []

    def sample_up_to_four(parameters, noise):
        asked.append(noise.shape[1])
        if noise.shape[1] > 4:
            raise torch.OutOfMemoryError("on purpose")
        return sample(parameters, noise)

    whole.measure(1)
    parts.optimizer.take([0, 5], (torch.ones_like(parts.parameters[0][:2]),))
    space.sample = sample_up_to_four
    parts.measure(1)
    assert asked == [6, 3, 3]
    for one, other in zip(whole.optimizer.gradients, parts.optimizer.gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)
    for one, other in zip(whole.trials, parts.trials, strict=True):
        assert other.state.d2 == pytest.approx(one.state.d2, rel=1e-3)
