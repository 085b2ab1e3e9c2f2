"""What is said of jobs as they end."""

import time
from collections import deque
from collections.abc import Iterator

from redis.exceptions import RedisError

from services.errors import UnreadableError
from services.jobs.leases import Leases
from services.jobs.notifications import CHANNEL
from services.jobs.record import JobRecord
from services.jobs.store import connect


class Endings:
    """Listens for the ends of jobs, whoever's they are."""

    def __init__(self, redis_url: str) -> None:
        client = connect(redis_url)
        self._leases = Leases(client, worker="", lease_s=0)  # only to find
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._told: deque[str] = deque(maxlen=1000)  # ids: that one began may be read after it ended

    def within(self, limit_s: float) -> Iterator[str]:
        """A line for each job that ends in the next `limit_s` seconds; while Redis is away, none does."""
        deadline = time.monotonic() + limit_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                if line := self._hear(left_s):
                    yield line
            except RedisError:
                time.sleep(left_s)

    def _hear(self, limit_s: float) -> str:
        """The line of the next notification, "" where it is not that a job has ended."""
        if not self._pubsub.subscribed:
            self._pubsub.psubscribe(f"{CHANNEL}*")
        message = self._pubsub.get_message(timeout=limit_s)
        if message is None or message["data"] != "status":
            return ""
        job_id = message["channel"].removeprefix(CHANNEL)
        try:
            record = self._leases.find(job_id)
        except UnreadableError as error:
            return str(error)
        if record is None or not record.status.final or job_id in self._told:
            return ""
        self._told.append(job_id)
        return sentence(record)


def sentence(record: JobRecord) -> str:
    """How the job has ended, and why; in one line, whatever a client has written."""
    begun, ended = record.started_at or record.created_at, record.finished_at or record.created_at
    words = f"job {record.id} {record.status} after {(ended - begun).total_seconds():.1f} s"
    if record.error:
        words += f", {record.error.code}: {record.error.detail}"
    return "".join(letter if letter.isprintable() else " " for letter in words)
