"""`python -m benchmarks listing [--quick]`: run a benchmark."""

import argparse
import sys
from collections.abc import Callable

from benchmarks import listing

BENCHMARKS: dict[str, Callable[[list[str]], int]] = {"listing": listing.main}


def main() -> int:
    """Run the benchmark that the first argument names, with the arguments after it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", choices=sorted(BENCHMARKS))
    options, rest = parser.parse_known_args(sys.argv[1:2])
    return BENCHMARKS[options.benchmark](rest + sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
