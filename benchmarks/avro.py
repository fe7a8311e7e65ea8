"""Avro files read with every tool, one process at a time, and the report of what they took."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import avro_report as report
from benchmarks.avro_peers import WARM_UP
from benchmarks.avro_report import Measurement, Scenario
from benchmarks.endpoint import SyntheticEndpoint

TIMEOUT_S = 120.0
QUICK_TIMEOUT_S = 30.0
PROCESS_OVERHEAD_S = 60.0
_ROOT = Path(__file__).resolve().parent.parent


def measure(
    endpoint: SyntheticEndpoint, scenario: Scenario, tool: str, timeout_s: float
) -> Measurement:
    """Return the figures of `tool` in `scenario`, in a process of its own."""
    endpoint.configure(latency_s=scenario.latency_s)
    command = [sys.executable, "-m", "benchmarks.avro_peers", tool, f"--url={endpoint.url}"]
    command += [f"--bucket={scenario.bucket}", f"--repeat={scenario.repeat}"]
    command += [f"--timeout={timeout_s}"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s + PROCESS_OVERHEAD_S,
        cwd=_ROOT,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return Measurement(scenario, tool, "failed", error=lines[-1])
    return Measurement(scenario, tool, **json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a tool does not find the rows that there are, else 0."""
    options = _parser().parse_args(arguments)
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
    text = report.markdown(measurements, elapsed_s=time.perf_counter() - started)
    if options.markdown:
        options.markdown.write_text(text)
    else:
        print(text)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(measurements), indent=1) + "\n")
    if options.plots:
        from benchmarks import avro_plots  # matplotlib, for those who want pictures

        avro_plots.write(measurements, options.plots)
    disagreements = report.disagreements(measurements)
    for line in disagreements:
        print(line, file=sys.stderr)
    return 1 if disagreements else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks avro",
        description="Read generated Avro files with this package, polars-avro, jetliner, fastavro "
        "and dask.",
    )
    parser.add_argument("--quick", action="store_true", help="end within a few minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write SVG plots")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds before one is cut off")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with TEXT in the name"
    )
    return parser
