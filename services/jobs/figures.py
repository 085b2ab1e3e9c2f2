"""What the store counts of jobs as they end, where their time went and how good their pictures are, and of workers.

Counters are as many as there are buckets here, whatever clients send. A bucket counts what is in no lower one.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

from services.jobs.record import Metrics, StoredOutput

STAGES = ("queue", "fit", "optimize", "check", "decode", "upload")
SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
BITS = (-8.0, -4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
VERDICTS = ("valid", "doubtful", "unknown")
STATES = ("busy", "idle")  # of a worker
LOOKUPS = ("memory", "store", "fit")  # where a worker found a density
VALID = 0.5  # P(valid) from which on a picture is more likely of the concept than not

Buckets = list[tuple[str, float]]


def counts_of(metrics: Metrics, outputs: Sequence[StoredOutput], target_bits: float | None) -> Counter[str]:
    """What an ended job adds to the counters; `target_bits` is None where no rarity was asked for."""
    counts: Counter[str] = Counter()
    for stage in STAGES:
        if ms := getattr(metrics, f"{stage}_ms"):
            counts[_bucket(f"stage:{stage}", SECONDS, ms / 1000)] += 1
            counts[f"stage:{stage}:ms"] += ms
    for output in outputs:
        asked = output.rarity.rung.bits if output.rarity.rung else target_bits
        if asked is not None:
            counts[_bucket("bits", BITS, output.rarity.bits - asked)] += 1
        counts[f"pictures:{verdict_of(output.validity)}"] += 1
    return counts


def verdict_of(validity: float | None) -> str:
    """The judge's verdict in a word."""
    return "unknown" if validity is None else "valid" if validity >= VALID else "doubtful"


def buckets(counters: Mapping[str, int], name: str, bounds: Sequence[float]) -> Buckets:
    """The histogram as Prometheus has one: upper bounds, and how many are not above each."""
    found, total = [], 0
    for bound in [*map(str, bounds), "+Inf"]:
        total += counters.get(f"{name}:{bound}", 0)
        found.append((bound, float(total)))
    return found


def _bucket(name: str, bounds: Sequence[float], value: float) -> str:
    index = bisect_left(bounds, value)
    return f"{name}:{bounds[index] if index < len(bounds) else '+Inf'}"
