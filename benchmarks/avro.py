"""Avro files read with every tool, one process at a time, and the report of what they took."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import avro_report as report
from benchmarks.avro_peers import WARM_UP
from benchmarks.avro_report import Measurement, Scenario
from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.process import command_line, figures_of, give_out, parse, pictures

TIMEOUT_S = 120.0
QUICK_TIMEOUT_S = 30.0


def measure(
    endpoint: SyntheticEndpoint, scenario: Scenario, tool: str, timeout_s: float
) -> Measurement:
    """Return the figures of `tool` in `scenario`, in a process of its own."""
    endpoint.configure(latency_s=scenario.latency_s)
    arguments = [tool, f"--url={endpoint.url}", f"--bucket={scenario.bucket}"]
    arguments += [f"--repeat={scenario.repeat}"]
    return Measurement(scenario, tool, **figures_of("benchmarks.avro_peers", arguments, timeout_s))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a tool does not find the rows that there are, else 0."""
    options = parse(_parser(), arguments)
    started = time.perf_counter()
    scenarios = [
        one
        for one in (report.quick() if options.quick else report.full())
        if options.only in one.name
    ]
    timeout_s = options.timeout or (QUICK_TIMEOUT_S if options.quick else TIMEOUT_S)
    measurements: list[Measurement] = []
    with SyntheticEndpoint({WARM_UP: "counters:1@avro:rows=10,codec=snappy"}) as endpoint:
        for scenario in scenarios:
            endpoint.add_buckets({scenario.bucket: scenario.spec})
            for tool in scenario.tools:
                one = measure(endpoint, scenario, tool, timeout_s)
                measurements.append(one)
                figures = one.error or f"{one.wall_s:.3f} s, CPU {one.cpu_s:.3f} s"
                print(f"{scenario.name} {tool}: {one.status}, {figures}", file=sys.stderr)
            endpoint.add_buckets({scenario.bucket: []})  # their bytes are not kept

    def plot(directory: Path) -> list[Path]:
        from benchmarks import avro_plots  # matplotlib, for those who want pictures

        return avro_plots.write(measurements, directory)

    text = report.markdown(
        measurements,
        elapsed_s=time.perf_counter() - started,
        command=options.command,
        pictures=pictures(options, plot),
    )
    return give_out(options, text, report.as_json(measurements), report.disagreements(measurements))


def _parser() -> argparse.ArgumentParser:
    parser = command_line(
        "avro",
        "Read generated Avro files with this package, polars-avro, jetliner, fastavro and dask.",
        quick="a few minutes",
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with TEXT in the name"
    )
    return parser
