"""`make fuzz`: attack a running gateway and say what it answered; exit code 1 when any of that is a fault."""

import argparse
import sys
import time

from tests.fuzz.attacked import Gateway, attacked
from tests.fuzz.contract import check_contract
from tests.fuzz.run import send_hostile, send_pictures

GROWTH_LIMIT_MIB = 128  # what the allocator keeps after pictures of 25 million pixels; it stays there


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=2000, help="requests that schemathesis makes of an operation")
    parser.add_argument("--requests", type=int, default=32_000, help="hostile requests, as bytes")
    parser.add_argument("--pictures", type=int, default=4_000, help="corrupt and hostile pictures")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with attacked() as gateway:
        faults = attack(gateway, options.examples, options.requests, options.pictures, options.seed)
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


def attack(gateway: Gateway, examples: int, requests: int, pictures: int, seed: int) -> list[str]:
    """Attack with each kind in turn, print what came back, and return all faults."""
    before, begin = gateway.memory_mib(), time.monotonic()
    outcome = check_contract(gateway, examples, seed)
    _say(gateway, begin, f"{outcome.requests} requests by schemathesis")
    faults = [outcome.findings] if outcome.findings else []
    for kind, send, count in (("hostile requests", send_hostile, requests), ("pictures", send_pictures, pictures)):
        begin = time.monotonic()
        tally = send(gateway, count, seed)
        _say(gateway, begin, f"{count} {kind}: {tally}")
        faults += tally.faults
    faults += gateway.complaints()
    if (growth := gateway.memory_mib() - before) > GROWTH_LIMIT_MIB:
        faults.append(f"the gateway grew by {growth} MiB, from {before} MiB")
    return faults


def _say(gateway: Gateway, begin: float, done: str) -> None:
    print(f"{done}; {time.monotonic() - begin:.0f} s; memory {gateway.memory_mib()} MiB", flush=True)


if __name__ == "__main__":
    main()
