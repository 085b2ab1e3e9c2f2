"""What is left when the noise is over, read without the store's own code: HGETALL, SCAN and a listing of the bucket."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import redis
from minio import Minio

FINAL = {"succeeded", "failed", "canceled"}


@dataclass(frozen=True)
class Audit:
    """Counts that a service without faults of its own leaves at zero, and how the jobs ended."""

    lost: int
    """Acknowledged jobs without a record."""
    uninvited: int
    """Records of jobs that nobody was told of: a submission that was sent again made two."""
    stuck: int
    """Records in no final state, and ids that indexes of waiting or leased jobs still hold."""
    duplicates: int
    """Jobs that more than one attempt published, or whose record names another number of outputs than was asked for."""
    unnamed: int
    """Objects that no record names."""
    missing: int
    """Objects that a record names and the bucket has not."""
    endings: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)

    @property
    def faults(self) -> dict[str, int]:
        names = ("lost", "uninvited", "stuck", "duplicates", "unnamed", "missing")
        return {name: count for name in names if (count := getattr(self, name))}


def audit(redis_url: str, objects: set[str], acknowledged: Iterable[str], published: Iterable[str]) -> Audit:
    """Of a quiet service; `published` has a job's id once for each time that a worker says it published its result."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        records = [client.hgetall(key) for key in client.scan_iter("{rarebit}:job:*", count=1000)]
        kept = [client.zcard(f"{{rarebit}}:{name}") for name in ("leases", "queue", "held", "waiting:normal")]
    ids, expected = {record["id"] for record in records}, set(acknowledged)
    named = {key for record in records for key in _named(record)}
    return Audit(
        lost=len(expected - ids),
        uninvited=len(ids - expected),
        stuck=sum(record["status"] not in FINAL for record in records) + sum(kept),
        duplicates=sum(n > 1 for n in Counter(published).values()) + sum(map(_miscounted, records)),
        unnamed=len(objects - named),
        missing=len(named - objects),
        endings=Counter(_ending(record) for record in records),
        attempts=Counter(int(record["attempt"]) for record in records),
    )


def bucket_objects(client: Minio, bucket: str) -> set[str]:
    """The keys of all jobs' objects; JuiceFS lists empty folders too, which end in a slash."""
    names = (item.object_name or "" for item in client.list_objects(bucket, "jobs/", recursive=True))
    return {name for name in names if not name.endswith("/")}


def _outputs(record: dict[str, str]) -> list[str]:
    return [output["key"] for output in json.loads(record.get("result", "{}")).get("outputs", [])]


def _named(record: dict[str, str]) -> set[str]:
    """An output, and beside it what its trial had learnt."""
    return {key for output in _outputs(record) for key in (output, output.rpartition(".")[0] + ".safetensors")}


def _miscounted(record: dict[str, str]) -> bool:
    wanted = json.loads(record["request"])["count"] if record["status"] == "succeeded" else 0
    return len(_outputs(record)) != wanted


def _ending(record: dict[str, str]) -> str:
    error = json.loads(record.get("result", "{}")).get("error") or {}
    return f"failed: {error['code']}" if error else record["status"]
