"""Laws of what is counted of ended jobs."""

from services.jobs.figures import counts_of
from services.jobs.record import Metrics, ReachedRarity, ReachedRung, StoredOutput


def output(bits, rung):
    reached = ReachedRarity(percentile=99.0, bits=bits, d2=1.0, residual=0.5, rung=rung)
    return StoredOutput.model_construct(rarity=reached, validity=0.9)


def test_a_picture_on_a_ladder_is_as_far_above_its_own_rung():
    outputs = [output(2.3, ReachedRung(column=0, index=0, bits=2.0)), output(10.3, None)]
    counts = counts_of(Metrics(), outputs, target_bits=10.0)
    assert {name: count for name, count in counts.items() if name.startswith("bits")} == {"bits:0.5": 2}
