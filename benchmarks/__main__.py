"""`python -m benchmarks NAME [OPTION...]`: run a benchmark."""

import argparse
import sys
from importlib import import_module

BENCHMARKS = {
    "avro": "read Avro files with this package and four others",
    "bytes": "move bytes with this package and four others, and a server that costs little",
    "damage": "what readers say of damaged files; writes docs/performance/damage.md",
    "dask": "sum Avro files on a Dask cluster, next to dask.bag",
    "fuzz": "damaged Avro files: only documented errors, in bounded time and memory",
    "glob": "time a glob on your own bucket, here and in s3fs",
    "importtime": "CPU time of importing this package, next to s3fs",
    "listing": "list generated buckets with this package and four others",
    "scale": "what globs cost on up to a billion keys; writes docs/performance/scale.md",
    "soak": "globs and reads against faults, in real time",
}


def main() -> int:
    """Run the benchmark that the first argument names, with the arguments after it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="\n".join(f"  {name:<12}{about}" for name, about in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=BENCHMARKS)
    options, rest = parser.parse_known_args(sys.argv[1:2])
    # Import only the chosen one: the others may need packages that are not installed.
    benchmark = import_module(f"benchmarks.{options.benchmark}")
    return int(benchmark.main(rest + sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
