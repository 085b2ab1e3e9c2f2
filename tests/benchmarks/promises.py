"""How often a job starts within the p90 that its submission was told, with jobs of very different lengths."""

import random
import time
from collections.abc import Iterator

from tests.faults.rig import rig
from tests.servers import eventually, redis_binaries

WORKERS, JOBS = 4, 150
STEP_S = 0.1
LOAD = 0.9  # of what the workers can do

Row = tuple[str, str]


def rows() -> Iterator[Row]:
    """Jobs of 1 to 30 steps that come at random, a little slower than they are done."""
    drawn = random.Random(0)
    with rig(redis_binaries()["valkey"], lease_s=30, appendfsync="everysec") as built:
        built.start_workers(WORKERS)
        for _ in range(JOBS):
            built.submit(step_s=STEP_S, steps=drawn.choice([1, 5, 30]))
            time.sleep(drawn.expovariate(LOAD * WORKERS / (16 * STEP_S)))
        with built.client() as client:
            assert eventually(lambda: not client.zcard("{rarebit}:queue"), 120)
            promised, held = (int(client.hget("{rarebit}:counters", name)) for name in ("eta:promised", "eta:held"))
    yield "jobs that started within the p90 of their submission", f"{held} of {promised} ({held / promised:.0%})"
