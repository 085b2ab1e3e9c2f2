"""`rarebit demo`: one job through the whole service, then its pictures beside plain samples of the same seeds."""

import math
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from httpx import HTTPTransport

from deploy.local.contact_sheet import Row, contact_sheet
from deploy.local.pictures import picture_paths, slug, validity_in_words, warning_lines
from deploy.local.progress import progress_bar
from deploy.local.stack.service import Stack, running
from rarebit_client import Client, Image, Job, Unavailable
from rarebit_client.abandon import abandon
from services.jobs.accepted import AcceptedRequest
from services.jobs.request import Rarity

_POLL_S = 0.2  # between two looks at the job and at the processes
_AWAY_S = 60.0  # for which a gateway or queue that is started again may not answer
Answer = TypeVar("Answer")


def run_demo(concept: str, count: int, rarity: Rarity, out: Path) -> list[str]:
    """Make `count` rare pictures of the concept in `out`, or as many columns of a ladder; answers with the job's
    warnings, then the paths, the contact sheet's last."""
    with running(out / "data", port=0) as stack:
        images = _through_the_service(stack, concept, count, rarity)
    paths = picture_paths(out, concept, len(images), "png")
    job, sheet = images[0].job, out / f"{slug(concept)}-sheet.png"
    plain = _plain_row(job, out / "data")
    rows = _columns(images) if rarity.ladder else [_rare_row(images)]
    contact_sheet(concept, [plain, *rows], job.warnings).save(sheet)
    saved = [image.save(path) for image, path in zip(images, paths, strict=True)]
    return warning_lines(job.warnings) + [str(path) for path in [*saved, sheet]]


def _through_the_service(stack: Stack, concept: str, count: int, rarity: Rarity) -> list[Image]:
    with Client(stack.url, retries=0, transport=HTTPTransport()) as client:  # past the proxies of the environment
        once = uuid.uuid4().hex
        target: Mapping[Any, Any] = rarity.model_dump(exclude_none=True)
        job = _answer(stack, lambda: client.submit(concept, count=count, rarity=target, idempotency_key=once))
        try:
            job = _watched(client, job, stack)
        except BaseException:
            abandon(client.cancel, job.id)  # or the next stack over this folder would run it
            raise
        return _answer(stack, lambda: client.images(job))


def _answer(stack: Stack, ask: Callable[[], Answer]) -> Answer:
    """What the service answers, also when it had to be started again for it; StackError when that does not help."""
    deadline = time.monotonic() + _AWAY_S
    while True:
        stack.tend()
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _watched(client: Client, job: Job, stack: Stack) -> Job:
    """The job when it has ended; StackError when a process cannot be kept running until then."""
    with progress_bar() as show:
        while not job.ended:
            time.sleep(_POLL_S)
            job = _answer(stack, partial(client.get, job.id))
            if progress := job.progress:
                show(progress.phase, progress.step, progress.steps, progress.rarity_bits)
    return job


def _plain_row(job: Job, data: Path) -> Row:
    """What the plain prompt draws from the noise of each picture, measured by the same density and checker."""
    from deploy.local import in_process  # torch only when the service has stopped
    from services.diffusion.density.subject import Subject
    from services.sampler.requests import config_of

    request = AcceptedRequest.model_validate(job.request)
    subject, seeds = Subject(request.concept, request.prompt), list(dict.fromkeys(one.seed for one in job.outputs))
    with progress_bar() as show:
        outputs = in_process.plain(in_process.load(data), subject, config_of(request), seeds, show)
    captions = [_caption(output.rarity["bits"], output.validity) for output in outputs]
    return Row("The plain prompt, from the same noise", [output.image for output in outputs], captions)


def _rare_row(images: list[Image]) -> Row:
    captions = [_caption(image.bits, image.validity) for image in images]
    label = f"Rarebit, asked for {_asked_bits(images[0].job.request['rarity']):.1f} bits"
    return Row(label, [image.pil() for image in images], captions)


def _columns(images: list[Image]) -> list[Row]:
    """A row for each, in which it becomes rarer."""
    rows = []
    for number, own in groupby(images, lambda image: image.rung and image.rung.column):
        column = list(own)
        asked = ", ".join(f"{image.rung.bits:g}" for image in column if image.rung)
        captions = [_caption(image.bits, image.validity) for image in column]
        label = f"Column {(number or 0) + 1}, asked for {asked} bits"
        rows.append(Row(label, [image.pil() for image in column], captions))
    return rows


def _caption(bits: float, validity: float | None) -> str:
    return f"{bits:.1f} bits · {validity_in_words(validity)}"


def _asked_bits(rarity: dict[str, float]) -> float:
    """The target of a request in bits: −log₂ of the share of plain samples that are as rare."""
    return rarity.get("bits") or -math.log2(1 - rarity["percentile"] / 100)
