"""Laws of jobs that run at once: they share batches, and no job can tell."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from services.diffusion import optimize
from services.diffusion.density.fit import fit_density
from services.diffusion.density.subject import Subject
from services.diffusion.generate import generate
from services.diffusion.optimize import Optimization, Part, losses
from services.diffusion.replay import GenerationConfig
from services.diffusion.run import Run
from services.diffusion.runtime.batching import ALONE, Sharing
from services.diffusion.runtime.memory import RowBatches
from services.diffusion.steering.clusters import UNSTEERED, steer
from services.diffusion.steering.objective import Objective
from services.diffusion.steering.spaces import Space
from services.texts.concepts import DEFAULT_PROMPT

HANDBAG = Subject("handbag", DEFAULT_PROMPT)
OTHERS = [Subject("red leather handbag", "a photo of a {}."), Subject("cup", "{}")]
SUBJECTS = [HANDBAG, *OTHERS]
WAIT_S = 5.0  # far longer than any step of these takes: whoever waits it out fails the test's patience, not its figures
CONFIG = GenerationConfig(target_bits=4.0, seed=3, count=2, trials=4, steps=6, size=32, decoder_steps=2)


def silent(_phase, _step, _steps, _bits):
    pass


def sharing(*, merges, wait_s=WAIT_S):
    shared = Sharing(wait_s=wait_s, merges=merges)
    shared.start()
    return shared


def at_once(shared, *jobs):
    """The result of each, or what it raised, in threads that have all joined before one begins."""
    barrier = threading.Barrier(len(jobs))

    def run(job):
        with shared.batching.joined():
            barrier.wait()
            try:
                return job()
            except Exception as error:
                return error

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs))


class Seen:
    """Work that notes which rows came together."""

    def __init__(self):
        self.batches = []

    def __call__(self, rows, tell):
        self.batches.append(sorted(rows))
        tell(1)
        if "bad" in rows:
            raise ValueError("bad")
        return [row.upper() for row in rows]


def test_rows_that_are_alike_go_in_one_batch_and_each_caller_gets_its_own():
    shared, work = sharing(merges=True), Seen()
    map_rows = [shared.batching.steps().map for _ in range(4)]
    likes, rows = ["x", "x", "y", "x"], [["a", "b"], ["c"], ["d"], ["e"]]
    calls = [lambda m=m, r=r, like=like: m(work, r, like) for m, r, like in zip(map_rows, rows, likes, strict=True)]
    assert at_once(shared, *calls) == [["A", "B"], ["C"], ["D"], ["E"]]
    assert sorted(work.batches) == [["a", "b", "c", "e"], ["d"]]


def test_callers_that_do_not_merge_take_turns():
    shared, work = sharing(merges=False), Seen()
    calls = [lambda r=r: shared.batching.steps().map(work, [r], "x") for r in "abc"]
    assert at_once(shared, *calls) == [["A"], ["B"], ["C"]]
    assert sorted(work.batches) == [["a"], ["b"], ["c"]]


def test_whoever_is_at_fault_fails_alone():
    shared, work = sharing(merges=True), Seen()
    first, bad, last = at_once(
        shared, *[lambda r=r: shared.batching.steps().map(work, [r], "x") for r in ("a", "bad", "c")]
    )
    assert (first, last) == (["A"], ["C"])
    assert isinstance(bad, ValueError)


def test_each_caller_hears_of_the_steps_of_its_own_rows():
    shared, heard = sharing(merges=True), {}

    def work(rows, tell):
        tell(1)
        tell(2)
        return rows

    def call(name, rows):
        heard[name] = []
        return shared.batching.pictures().map(work, rows, "x", lambda *step: heard[name].append(step))

    at_once(shared, *[lambda n=n, i=i: call(n, [n] * (5 + i)) for i, n in enumerate("ab")])
    parts = {name: sorted({(first, last) for first, last, _ in steps}) for name, steps in heard.items()}
    assert sorted(sum((last - first) for first, last in own) for own in parts.values()) == [5, 6]
    assert all(own[0][0] == 0 for own in parts.values())


def test_who_leaves_at_a_step_is_gone_at_once_and_the_others_go_on():
    shared, left, go_on = sharing(merges=True), threading.Event(), threading.Event()

    def work(rows, tell):
        tell(1)
        assert go_on.wait(WAIT_S)
        return rows

    def leave(*_step):
        raise KeyboardInterrupt

    def go():
        try:
            shared.batching.pictures().map(work, ["a"], "x", leave)
        except KeyboardInterrupt:
            left.set()

    def stay():
        return shared.batching.pictures().map(work, ["b"], "x")

    threading.Thread(target=lambda: left.wait(WAIT_S) and go_on.set()).start()
    assert at_once(shared, go, stay)[1] == ["b"]


def test_work_that_nobody_waits_for_any_more_stops_at_its_next_step():
    shared, steps = sharing(merges=True), []

    def work(rows, tell):
        for step in range(1000):
            steps.append(step)
            tell(step)
            time.sleep(0.01)
        return rows

    def leave(*_step):
        raise KeyError("left")

    with pytest.raises(KeyError):
        shared.batching.pictures().map(work, ["a"], "x", leave)
    assert shared.batching.pictures().map(lambda rows, _tell: rows, ["b"], "y") == ["b"]
    assert len(steps) < 100


def test_one_who_waits_long_enough_goes_without_the_others():
    shared, work = sharing(merges=True, wait_s=0.05), Seen()
    with shared.batching.joined(), shared.batching.joined():
        assert shared.batching.steps().map(work, ["a"], "x") == ["A"]


def test_what_fits_is_learnt_by_all_that_shared_the_batch():
    shared, sizes = sharing(merges=True), []

    def work(rows, _tell):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("on purpose")
        return rows

    batchers = [shared.batching.steps() for _ in range(2)]
    for _ in range(2):
        at_once(shared, *[lambda b=b: b.map(work, [1] * 4, "x") for b in batchers])
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


@pytest.fixture(scope="module")
def others(model):
    """Densities of longer and shorter words, in prompts of their own."""
    return [fit_density(model, subject, samples=300, seed=0, report=silent) for subject in OTHERS]


def run_of(model, density, subject, names, trials, bits):
    space, objective = Space(model, subject, names), Objective(density, bits, UNSTEERED)
    return Optimization(space, density, objective, seed=1, trials=trials, count=trials)


@pytest.mark.parametrize("names", [["lora"], ["token"], ["adjective", "lora"]])
def test_runs_of_other_concepts_and_targets_move_together_as_alone(model, density, others, names):
    """Their losses and gradients, of prompts of other lengths, within rounding."""
    runs = [
        run_of(model, own, subject, names, n, b)
        for own, subject, n, b in zip([density, *others], SUBJECTS, (3, 2, 1), (5.0, 9.0, 7.0), strict=True)
    ]
    generator = torch.Generator().manual_seed(0)
    for run in runs:
        for part in run.parameters:
            part.add_(0.01 * torch.randn(part.shape, generator=generator))
    parts = [Part.of(run, list(range(len(run.trials)))) for run in runs]
    loss, image_embeds, table = losses(parts)
    together = torch.autograd.grad(loss, [own for part in parts for own in part.parameters])
    apart = [losses([part]) for part in parts]
    alone = [
        own for part, (one, _, _) in zip(parts, apart, strict=True) for own in torch.autograd.grad(one, part.parameters)
    ]
    torch.testing.assert_close(image_embeds, torch.cat([embeds for _, embeds, _ in apart]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(table, torch.cat([own for _, _, own in apart], dim=1), rtol=1e-3, atol=1e-4)
    for ours, own in zip(together, alone, strict=True):
        torch.testing.assert_close(ours, own, rtol=1e-3, atol=1e-3 * float(own.abs().max()))


def jobs_of(model, checker, densities, steering, batching):
    """Jobs of other concepts, targets, seeds and wishes."""
    configs = [CONFIG, replace(CONFIG, target_bits=7.0, seed=11), replace(CONFIG, seed=5, count=1, space=("token",))]
    wishes = [UNSTEERED, steering, UNSTEERED]
    return [
        lambda d=d, o=o, c=c, s=s: generate(Run(model, d, checker, o, c, s), silent, batching=batching).outputs
        for d, o, c, s in zip(densities, SUBJECTS, configs, wishes, strict=True)
    ]


def test_a_job_gives_the_same_pictures_in_company_as_alone_to_the_bit(model, density, others, checker):
    wishes = {"avoid": ["red"], "toward": [], "history": None, "report": silent}
    densities, steering = [density, *others], steer(model, others[0], OTHERS[0], **wishes)
    alone = [job() for job in jobs_of(model, checker, densities, steering, ALONE)]
    shared = sharing(merges=False)
    company = at_once(shared, *jobs_of(model, checker, densities, steering, shared.batching))
    for one, other in zip(alone, company, strict=True):
        assert [o.image.tobytes() for o in one] == [o.image.tobytes() for o in other]
        assert [o.rarity for o in one] == [o.rarity for o in other]


def test_jobs_that_merge_give_what_they_give_alone_within_rounding(
    model, density, others, checker, monkeypatch, caplog
):
    densities, steering, runs = [density, *others], UNSTEERED, []
    monkeypatch.setattr(optimize, "losses", lambda parts: runs.append(len(parts)) or losses(parts))
    alone = [job() for job in jobs_of(model, checker, densities, steering, ALONE)]
    shared = sharing(merges=True)
    company = at_once(shared, *jobs_of(model, checker, densities, steering, shared.batching))
    assert max(runs) > 1
    assert not caplog.records
    for one, other in zip(alone, company, strict=True):
        assert [o.seed for o in one] == [o.seed for o in other]
        for mine, theirs in zip(one, other, strict=True):
            assert mine.rarity["bits"] == pytest.approx(theirs.rarity["bits"], abs=0.1)
            cosine = torch.nn.functional.cosine_similarity(mine.image_embeds, theirs.image_embeds, dim=0)
            assert cosine > 0.999


def test_a_setting_bounds_the_rows_of_a_step():
    asked = []
    RowBatches(20).map(lambda rows, _tell: asked.append(len(rows)) or rows, list(range(50)))
    assert asked == [20, 20, 10]
