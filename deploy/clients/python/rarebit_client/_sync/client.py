"""The client: one call makes pictures, the others are the gateway's own."""

import math
import os
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self, Unpack
from urllib.parse import quote

import httpx

from rarebit_client._sync.transport import Transport
from rarebit_client.abandon import abandon
from rarebit_client.auth import Bearer
from rarebit_client.documents import (
    EVENTS,
    Batch,
    Deliveries,
    Delivery,
    DensityModel,
    DensityModels,
    Event,
    Exposure,
    Feedback,
    FoundThing,
    FoundThings,
    Job,
    JobPage,
    JobStatus,
    JobSummary,
    Preview,
    StatusChange,
    Upload,
    WatchedProgress,
)
from rarebit_client.errors import (
    Expired,
    InvalidRequest,
    NotFound,
    TimedOut,
    WaitTimeout,
    raise_unless_succeeded,
    understood,
)
from rarebit_client.image import Image
from rarebit_client.options import JobFields, JobOptions, body_of, media_type_of
from rarebit_client.retries import Retries

LOCAL = "http://127.0.0.1:8000"
_LONGEST_WAIT_S = 40  # of the gateway's 50: whatever is between has time left


class Client:
    """A gateway at `base_url` (or RAREBIT_URL), with the key `api_key` (or RAREBIT_API_KEY) where it asks for one.

    Errors are the tree in `rarebit_client.errors`. A request that meets a full queue, a rate limit or no answer is sent
    again `retries` times; nothing is done twice by that. `transport` is httpx's, for proxies and certificates.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        key = api_key or os.environ.get("RAREBIT_API_KEY")
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=base_url or os.environ.get("RAREBIT_URL") or LOCAL,
            auth=Bearer(key) if key else None,
            timeout=timeout_s,
            transport=transport,
        )
        self._transport = Transport(self._http, Retries(retries))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def generate(
        self,
        concept: str,
        *,
        on_progress: Callable[[WatchedProgress], None] | None = None,
        on_preview: Callable[[Preview], None] | None = None,
        **options: Unpack[JobOptions],
    ) -> list[Image]:
        """Make pictures of the concept; whatever ends the call early cancels the job.

        Meanwhile `on_progress` hears of each step, and `on_preview` of what a check has just looked at. JobFailed, also
        when its `start_within` or `run_within` is over; JobCanceled when somebody else cancels it.
        """
        job = self.submit(concept, **options)
        try:
            with closing(self.events(job.id, previews=on_preview is not None)) as events:
                for event in events:
                    if on_progress and isinstance(event.data, WatchedProgress):
                        on_progress(event.data)
                    elif on_preview and isinstance(event.data, Preview):
                        on_preview(event.data)
            job = self.wait(job.id)
        except BaseException:
            abandon(self.cancel, job.id)
            raise
        return self.images(job)

    def submit(self, concept: str, *, idempotency_key: str | None = None, **options: Unpack[JobOptions]) -> Job:
        """Queue a job. A key of your own makes it one job, however often your program asks; options as they were then.

        A picture that is a path or bytes is uploaded each time: with a key, `upload` it once and name it.
        """
        body = self._body({"concept": concept, **options})
        return self._transport.read(Job, "POST", "/jobs", json=body, headers=_once(idempotency_key))

    def get(self, job_id: str, *, wait_s: int = 0) -> Job:
        """The job as it stands, or as soon as it has ended within `wait_s` seconds; a gateway waits for 50 at most."""
        return self._look(job_id, wait_s)

    def wait(self, job_id: str, *, timeout_s: float = math.inf) -> Job:
        """The job when it has ended, in whichever way; WaitTimeout leaves it running."""
        deadline, longest_s = time.monotonic() + timeout_s, _LONGEST_WAIT_S
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            try:
                job = self._look(job_id, math.ceil(min(left_s, longest_s)), TimedOut if longest_s > 1 else ())
            except TimedOut:
                longest_s //= 2  # a proxy has less patience
                continue
            if job.ended:
                return job
            if time.monotonic() >= deadline:
                raise WaitTimeout(f"job {job_id} is {job.status} after {timeout_s} s")

    def _look(self, job_id: str, wait_s: int, final: type[TimedOut] | tuple[()] = ()) -> Job:
        patience = {"params": {"wait": wait_s}, "timeout": self._timeout_s + wait_s, "final": final}
        return self._transport.read(Job, "GET", _path("jobs", job_id), **patience)

    def events(self, job_id: str, *, after: str = "", previews: bool = False) -> Generator[Event]:
        """What happens to the job, from its start or after the event `after`, until it has ended.

        A broken connection is opened again and goes on after the last event: none is lost, none comes twice.
        """
        path, params = _path("jobs", job_id, "events"), {"previews": "true"} if previews else {}
        with closing(self._transport.events(path, after, params)) as stream:
            for sent in stream:
                if read := EVENTS.get(sent.event):
                    with understood(f"the event {sent.event}"):
                        event = Event(sent.id, read(sent.data))
                    yield event
                    if isinstance(event.data, StatusChange) and event.data.ended:
                        return

    def images(self, job: JobSummary) -> list[Image]:
        """The pictures of an ended job, fetched while its URLs last; JobFailed or JobCanceled where there are none."""
        raise_unless_succeeded(job)
        if not isinstance(job, Job):
            job = self.get(job.id)
        contents = [(self._transport.send("GET", output.url, auth=None)).content for output in job.outputs]
        return [Image(content, output, job) for content, output in zip(contents, job.outputs, strict=True)]

    def jobs(self, *, status: JobStatus | None = None) -> Iterator[JobSummary]:
        """All jobs, newest first, page by page; those submitted meanwhile do not shift the rest."""
        for page in self._pages("/jobs", {"status": status} if status else {}):
            for job in page.jobs:
                yield job

    def cancel(self, job_id: str) -> Job:
        """Ask the job to stop; harmless when it has ended."""
        return self._transport.read(Job, "POST", _path("jobs", job_id, "cancel"))

    def delete(self, job_id: str) -> None:
        """Erase the job and its pictures."""
        self._transport.send("DELETE", _path("jobs", job_id))

    def deliveries(self, job_id: str) -> list[Delivery]:
        """What the job's webhook was told, and how telling it went."""
        return (self._transport.read(Deliveries, "GET", _path("jobs", job_id, "deliveries"))).deliveries

    def redeliver(self, job_id: str, delivery_id: str) -> Delivery:
        """Tell it again now."""
        return self._transport.read(Delivery, "POST", _path("jobs", job_id, "deliveries", delivery_id, "redeliver"))

    def submit_batch(
        self, jobs: Sequence[JobFields], *, shared: JobFields | None = None, idempotency_key: str | None = None
    ) -> Batch:
        """Queue up to 100 jobs at once, each with the fields of `shared` that it lacks; each is taken or refused."""
        body = {"jobs": [self._body(fields) for fields in jobs], "shared": self._body(shared or {})}
        return self._transport.read(Batch, "POST", "/batches", json=body, headers=_once(idempotency_key))

    def sweep(
        self,
        concept: str,
        axes: Mapping[str, Sequence[Any]],
        *,
        idempotency_key: str | None = None,
        **shared: Unpack[JobOptions],
    ) -> Batch:
        """Queue a job for each combination of values, 100 at most: `{"/rarity/bits": [2, 5], "/seed": [7, 8]}`.

        The last axis runs fastest in the batch's `items`.
        """
        sweep = [{"field": field, "values": [*values]} for field, values in axes.items()]
        body = {"sweep": sweep, "shared": self._body({"concept": concept, **shared})}
        return self._transport.read(Batch, "POST", "/batches", json=body, headers=_once(idempotency_key))

    def get_batch(self, batch_id: str) -> Batch:
        """The batch and its jobs as they stand."""
        return self._transport.read(Batch, "GET", _path("batches", batch_id))

    def wait_batch(self, batch_id: str) -> Batch:
        """The batch when the last of its jobs has ended, in whichever way."""
        for item in (self.get_batch(batch_id)).items:
            with suppress(NotFound, Expired):  # as the batch will say, too
                if item.job and not item.job.ended:
                    self.wait(item.job.id)
        return self.get_batch(batch_id)

    def cancel_batch(self, batch_id: str) -> Batch:
        """Ask every job of the batch to stop."""
        return self._transport.read(Batch, "POST", _path("batches", batch_id, "cancel"))

    def upload(self, picture: bytes | Path) -> Upload:
        """A PNG, JPEG or WebP to start from: `image={"upload": ID}`."""
        content = picture.read_bytes() if isinstance(picture, Path) else picture
        headers = {"Content-Type": media_type_of(content)}
        return self._transport.read(Upload, "POST", "/images", content=content, headers=headers)

    def delete_upload(self, upload_id: str) -> None:
        """Erase the picture."""
        self._transport.send("DELETE", _path("images", upload_id))

    def keep(self, output: Image | str, name: str) -> FoundThing:
        """Keep what an output (or its `ref`) has learnt beyond its job: `found={"kept": ID}` draws it again."""
        body = {"output": output if isinstance(output, str) else output.ref, "name": name}
        return self._transport.read(FoundThing, "POST", "/found", json=body)

    def keep_file(self, file: bytes | Path, name: str) -> FoundThing:
        """Keep what `found_file` gave, here or elsewhere."""
        content = file.read_bytes() if isinstance(file, Path) else file
        sent: dict[str, Any] = {"content": content, "headers": {"Content-Type": "image/png"}, "params": {"name": name}}
        return self._transport.read(FoundThing, "POST", "/found-files", **sent)

    def found_file(self, found: FoundThing) -> bytes:
        """The found thing as one PNG, which shows it and carries what was learnt; to be fetched while its URL lasts."""
        return (self._transport.send("GET", found.download_url, auth=None)).content

    def found(self) -> list[FoundThing]:
        """What is kept, the newest first."""
        return (self._transport.read(FoundThings, "GET", "/found")).found

    def delete_found(self, found_id: str) -> None:
        """Keep it no longer."""
        self._transport.send("DELETE", _path("found", found_id))

    def exposure(self, key: str) -> Exposure:
        """What the user behind the key has seen, in numbers."""
        return self._transport.read(Exposure, "GET", _path("exposures", key))

    def add_views(self, key: str, views: Mapping[str, Feedback]) -> Exposure:
        """Add pictures, by their `ref`, to what was seen, with what was thought of each; all of them or none."""
        body = {"views": [{"output": ref, "feedback": feedback} for ref, feedback in views.items()]}
        return self._transport.read(Exposure, "POST", _path("exposures", key, "views"), json=body)

    def forget(self, key: str) -> None:
        """Erase the history."""
        self._transport.send("DELETE", _path("exposures", key))

    def density_models(self) -> list[DensityModel]:
        """The concepts whose usual look is known."""
        return (self._transport.read(DensityModels, "GET", "/density-models")).density_models

    def fit_density(self, concept: str, *, prompt: str | None = None, model: str | None = None) -> DensityModel:
        """Have the concept's usual look, in that prompt, learnt ahead of its first job."""
        asked = {"prompt": prompt, "model": model}
        path, params = _path("density-models", concept), {name: value for name, value in asked.items() if value}
        return self._transport.read(DensityModel, "PUT", path, params=params)

    def quarantine(self) -> Iterator[JobSummary]:
        """For operators: the jobs that two workers died with, newest first, page by page."""
        for page in self._pages("/quarantine", {}):
            for job in page.jobs:
                yield job

    def unreadable(self) -> Iterator[str]:
        """For operators: the ids of quarantined jobs whose records the gateway cannot read."""
        for page in self._pages("/quarantine", {}):
            for job_id in page.unreadable:
                yield job_id

    def replay(self, job_id: str) -> Job:
        """For operators: queue a new job of a quarantined one's request, seed and all."""
        return self._transport.read(Job, "POST", _path("quarantine", job_id, "replay"))

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[JobPage]:
        while True:
            yield (page := self._transport.read(JobPage, "GET", path, params=params))
            if page.next_cursor is None:
                return
            params = {**params, "cursor": page.next_cursor}

    def _body(self, fields: JobFields) -> dict[str, Any]:
        body = body_of(fields)
        image = fields.get("image")
        start = image if isinstance(image, Mapping) else {"upload": image}
        if isinstance(picture := start.get("upload"), (bytes, Path)):
            body["image"] = {**start, "upload": (self.upload(picture)).id}
        return body


def _once(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or uuid.uuid4().hex}


def _path(*parts: str) -> str:
    if {"", ".", ".."} & set(parts):  # which would lead to another path, encoded too
        raise InvalidRequest(f"a name is empty or dots alone: {parts}")
    return "".join(f"/{quote(part, safe='')}" for part in parts)
