"""`rarebit demo`: one job through the whole service, then its pictures beside plain samples of the same seeds."""

import math
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from deploy.local.client import Job, download, run_job
from deploy.local.contact_sheet import Row, contact_sheet
from deploy.local.pictures import slug
from deploy.local.progress import progress_bar
from deploy.local.stack import Stack, running
from services.schemas import JobRequest


def run_demo(concept: str, count: int, out: Path) -> list[Path]:
    """Make `count` rare pictures of the concept in `out`; returns the paths, the contact sheet's last."""
    with running(out / "data", port=0) as stack:
        job, pictures = _through_the_service(stack, {"concept": concept, "count": count}, out)
    sheet = out / f"{slug(concept)}-sheet.png"
    contact_sheet(concept, [_plain_row(job, out / "data"), _rare_row(job, pictures)]).save(sheet)
    return [*pictures, sheet]


def _through_the_service(stack: Stack, body: dict[str, Any], out: Path) -> tuple[Job, list[Path]]:
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as client, progress_bar() as show:

        def watch(job: Job) -> None:
            stack.check()
            if progress := job["progress"]:
                show(progress["phase"], progress["step"], progress["steps"], progress["rarity_bits"])

        job = run_job(client, body, watch)
        return job, download(client, job, out)


def _plain_row(job: Job, data: Path) -> Row:
    """What the plain prompt draws from the noise of each picture, measured by the same density and checker."""
    from deploy.local import in_process  # torch only when the service has stopped
    from services.diffusion.subject import Subject
    from worker.sampling import recipe_of

    request = JobRequest.model_validate(job["request"])
    subject, seeds = Subject(request.concept, request.prompt), [output["seed"] for output in job["outputs"]]
    with progress_bar() as show:
        outputs = in_process.plain(in_process.load(data), subject, recipe_of(request), seeds, show)
    captions = [_caption(output.rarity["bits"], output.validity) for output in outputs]
    return Row("The plain prompt, from the same noise", [output.image for output in outputs], captions)


def _rare_row(job: Job, pictures: list[Path]) -> Row:
    captions = [_caption(output["rarity"]["bits"], output["validity"]) for output in job["outputs"]]
    label = f"Rarebit, asked for {_asked_bits(job['request']['rarity']):.1f} bits"
    return Row(label, [Image.open(path) for path in pictures], captions)


def _caption(bits: float, validity: float) -> str:
    return f"{bits:.1f} bits · {validity:.0%} valid"


def _asked_bits(rarity: dict[str, float]) -> float:
    """The target of a request in bits: −log₂ of the share of plain samples that are as rare."""
    return rarity.get("bits") or -math.log2(1 - rarity["percentile"] / 100)
