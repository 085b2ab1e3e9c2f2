"""`rarebit reconcile`: after a restore, Redis and the object store tell the same, before anything runs again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Annotated

import redis
import typer

from deploy.local.operators.reading import Overview, parts
from deploy.local.sentence import one_sentence
from services.errors import StoreUnsafeError, UnreadableError
from services.jobs.answers import pairs, read_view
from services.jobs.record import JobRecord
from services.jobs.store import EVERYBODY, Operations, connect
from services.objects.keys import (
    DENSITIES,
    FOUND,
    JOBS,
    UPLOADS,
    found_key,
    found_picture_key,
    state_key,
    upload_key,
)
from services.objects.storage import Storage, open_storage
from services.settings import Settings

_PICTURES = {UPLOADS: (upload_key,), FOUND: (found_key, found_picture_key)}
SILENCE_S = 60  # after which a worker counts as gone: WORKER_MS
_TOLD = {
    "running": "ran when Redis was saved; to be run again",
    "unnamed": "is named by no record; to be erased",
    "missing": "is gone, or a part of it; its record is to expire",
}


@dataclass(frozen=True)
class Differences:
    """Ids of jobs that ran when Redis was saved, prefixes whose objects no record names, and those of jobs, uploads and
    found things whose records name objects that are missing."""

    running: list[str]
    unnamed: list[str]
    missing: list[str]


@dataclass(frozen=True)
class Seen:
    """What the store has below a prefix: which of it no record names, and whether all is there that its record does."""

    prefix: str
    unnamed: Sequence[str]
    whole: bool = False


def reconcile(
    apply: Annotated[bool, typer.Option("--apply", help="Do it, where nothing else runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Tell, after a restore, what Redis has and the object store of the RAREBIT_ variables has not, and vice versa."""
    with one_sentence():
        settings = Settings.read()
        with connect(settings.redis_url) as client:
            if apply:
                require_alone(client)
            store = Store(client, open_storage(settings))
            found = store.differences()
            _show(found, as_json)
            if apply:
                store.settle(found)


def require_alone(client: redis.Redis) -> None:
    """StoreUnsafeError where a worker was heard of since this Redis has started, and within the last minute."""
    uptime_s = min(SILENCE_S, int(client.info("server")["uptime_in_seconds"]) + 1)  # whole seconds, rounded down
    for worker in Overview(client).workers():
        if worker.seen_s is not None and worker.seen_s < uptime_s:
            told = (
                f"the worker {worker.worker} was heard of {worker.seen_s:.0f} s ago: end all workers and gateways first"
            )
            raise StoreUnsafeError(told)


class Store:
    """A job store and its objects, which nothing else uses. Methods raise StorageError and redis-py's errors."""

    def __init__(self, client: redis.Redis, storage: Storage) -> None:
        self._client, self._operations, self._storage = client, Operations(client), storage

    def differences(self) -> Differences:
        """What there is to do; nothing is changed."""
        recorded = {prefix for part in parts(self._operations, "kept") for prefix in part if prefix}
        seen = [*self._jobs(), *self._pictures(recorded), *self._densities()]
        apart = recorded - {one.prefix for one in seen if one.whole}
        return Differences(
            running=[job.id for job in Overview(self._client).jobs("running")],
            unnamed=[prefix for one in seen for prefix in one.unnamed],
            missing=sorted(prefix for prefix in apart if prefix.startswith((UPLOADS, FOUND)) or self._named(prefix)),
        )

    def settle(self, found: Differences) -> None:
        """Have those that ran run again, erase what nobody names, and let expire what is not whole."""
        while self._operations("run_again", EVERYBODY):
            pass
        for prefix in found.unnamed:
            self._storage.delete(prefix)
        for prefix in found.missing:
            self._operations("expire", EVERYBODY, prefix)

    def _jobs(self) -> Iterator[Seen]:
        for prefix, keys in self._listed(JOBS):
            named = self._named(prefix)
            yield Seen(prefix, [prefix]) if named is None else Seen(prefix, _stray(prefix, keys, named), named <= keys)

    def _pictures(self, recorded: set[str]) -> Iterator[Seen]:
        for kind, own in _PICTURES.items():
            for prefix, keys in self._listed(kind):
                unnamed = [] if prefix in recorded else [prefix]
                yield Seen(prefix, unnamed, {key(prefix.split("/")[1]) for key in own} <= keys)

    def _densities(self) -> Iterator[Seen]:
        used = {f"{DENSITIES}models/"} | {
            f"{key}/" for part in parts(self._operations, "densities") for key in part[::2]
        }
        for prefix, _ in self._listed(DENSITIES):
            yield Seen(prefix, [] if prefix in used else [prefix])

    def _listed(self, kind: str) -> Iterator[tuple[str, set[str]]]:
        """Prefixes of one kind, each with its keys."""
        for prefix, keys in groupby(self._storage.keys(kind), key=_prefix):
            yield prefix, set(keys)

    def _named(self, prefix: str) -> set[str] | None:
        """The keys that the job's record names; None where there is none, all of them where it cannot be read."""
        view = self._operations("find", EVERYBODY, prefix.split("/")[1])
        if not view:
            return None
        try:
            record, _ = read_view(view)
        except UnreadableError:
            return set(self._storage.keys(prefix))
        savepoint = pairs(view[1]).get("savepoint")
        return {*_outputs(record), *([savepoint] if savepoint else [])}


def _prefix(key: str) -> str:
    return "/".join(key.split("/")[:2]) + "/"


def _folder(key: str) -> str:
    return key.rpartition("/")[0] + "/"


def _outputs(record: JobRecord) -> Iterator[str]:
    """Each picture, and beside it what its trial has learnt."""
    for index, output in enumerate(record.outputs):
        yield from (output.key, state_key(record.id, record.attempt, index))


def _stray(prefix: str, keys: set[str], named: set[str]) -> list[str]:
    """Attempts and savepoints that are not the record's; densities go with their job."""
    folders = {_folder(key) for key in keys if not key.startswith(prefix + DENSITIES)}
    return sorted(folders - {_folder(key) for key in named})


def _show(found: Differences, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    for what, told in _TOLD.items():
        for name in getattr(found, what):
            print(name, told, sep="\t")
    print(*(f"{len(getattr(found, what))} {what}" for what in _TOLD), sep=", ")
