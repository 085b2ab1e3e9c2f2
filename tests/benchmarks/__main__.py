"""`make bench`: what sampler and gateway cost, and what each part of the method does, as Markdown."""

import argparse

from tests.benchmarks import (
    ablations,
    aspect,
    controls,
    dial,
    exposure,
    found,
    gateway,
    judge,
    ladder,
    planned,
    rounds,
    scale,
    speed,
    steering,
    too_far,
)

PARTS = {
    "speed": speed.lines,
    "gateway": gateway.lines,
    "ablations": ablations.lines,
    "hard": ablations.hard_lines,
    "judge": judge.lines,
    "aspect": aspect.lines,
    "dial": dial.lines,
    "ladder": ladder.lines,
    "found": found.lines,
    "steering": steering.lines,
    "strength": controls.strength_lines,
    "weights": controls.weight_lines,
    "variety": controls.variety_lines,
    "exposure": exposure.lines,
    "rounds": rounds.lines,
    "too-far": too_far.lines,
    "scale": scale.lines,
    "planned": planned.lines,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=["speed"], help=f"some of {', '.join(PARTS)}; speed alone if none")
    for part in parser.parse_args().parts:
        for line in PARTS[part]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
