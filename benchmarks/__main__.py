"""`python -m benchmarks NAME [OPTION...]`: run a benchmark."""

import argparse
import sys
from importlib import import_module

BENCHMARKS = ("avro", "dask", "importtime", "listing", "overhead", "scale", "soak")


def main() -> int:
    """Run the benchmark that the first argument names, with the arguments after it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", choices=BENCHMARKS)
    options, rest = parser.parse_known_args(sys.argv[1:2])
    # What one benchmark needs is not asked for by another.
    benchmark = import_module(f"benchmarks.{options.benchmark}")
    return int(benchmark.main(rest + sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
