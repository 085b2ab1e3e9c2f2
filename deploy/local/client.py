"""The job API from the client's side: post a job, watch it, fetch its pictures."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from deploy.local.pictures import picture_paths

_POLL_S = 0.2
_FINAL = {"succeeded", "failed", "canceled"}

Job = dict[str, Any]  # the document that api.md describes


class JobFailed(Exception):  # noqa: N818
    """One sentence: why the job has no pictures."""


def run_job(client: httpx.Client, body: dict[str, Any], watch: Callable[[Job], None]) -> Job:
    """Post `body`, call `watch` with each state of the job, and return it succeeded; canceled if we are interrupted."""
    accepted = client.post("/jobs", json=body)
    if accepted.is_error:
        raise JobFailed(f"the gateway refused the job: {_reason(accepted.json())}")
    job: Job = accepted.json()
    try:
        while job["status"] not in _FINAL:
            time.sleep(_POLL_S)
            job = client.get(job["urls"]["self"]).raise_for_status().json()
            watch(job)
    finally:
        if job["status"] not in _FINAL:
            client.post(job["urls"]["cancel"])
    if job["status"] != "succeeded":
        raise JobFailed(f"the job {job['status']}: {(job['error'] or {}).get('detail')}")
    return job


def quarantined(client: httpx.Client) -> Iterator[Job]:
    """The jobs that two workers died with, newest first, page by page."""
    query: dict[str, str] | None = {}
    while query is not None:
        page = client.get("/quarantine", params=query).raise_for_status().json()
        yield from page["jobs"]
        query = {"cursor": page["next_cursor"]} if page["next_cursor"] else None


def replay_quarantined(client: httpx.Client, job_id: str) -> Job:
    """The new job of the same request."""
    answer = client.post(f"/quarantine/{quote(job_id, safe='')}/replay")
    if answer.is_error:
        raise JobFailed(f"the job is not replayed: {_reason(answer.json())}")
    job: Job = answer.json()
    return job


def _reason(problem: dict[str, Any]) -> str:
    """An RFC 9457 problem in one sentence, each refused field by name."""
    fields = [
        f"{field.get('pointer') or field.get('parameter')}: {field['detail']}" for field in problem.get("errors", [])
    ]
    return "; ".join(fields) or problem.get("detail") or problem["title"]


def download(client: httpx.Client, job: Job, folder: Path) -> list[Path]:
    """Save every output of the job in `folder`."""
    outputs = job["outputs"]
    suffix = job["request"]["format"]
    paths = picture_paths(folder, job["concept"], len(outputs), suffix)
    for path, output in zip(paths, outputs, strict=True):
        path.write_bytes(client.get(output["url"]).raise_for_status().content)
    return paths
