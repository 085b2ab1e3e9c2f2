"""`make bench`: what the sampler costs and what its method does, on the embedded checkpoint, as Markdown."""

import argparse

from tests.benchmarks import method, speed
from tests.benchmarks.setup import Bench


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("speed", "method"), help="both, if not given")
    parser.add_argument("--concepts", nargs="+", default=method.CONCEPTS)
    parser.add_argument("--images", type=int, default=16, help="per concept and way of sampling")
    args = parser.parse_args()
    bench = Bench.load()
    if args.part in (None, "speed"):
        print(speed.table(bench), flush=True)
    if args.part in (None, "method"):
        print(method.table(bench, args.concepts, args.images), flush=True)


if __name__ == "__main__":
    main()
