"""Every scenario with every tool, one process at a time, and the report of what they took."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.process import command_line, figures_of, give_out, parse, pictures
from benchmarks.report import Measurement
from benchmarks.scenarios import (
    BUCKETS,
    OWN,
    OWN_ITERATOR,
    PAGE_SIZE,
    REQUEST_LATENCY_S,
    Scenario,
    full,
    quick,
)

QUICK_TIMEOUT_S = 2.5
QUICK_BUDGET_S = 112.0  # leaves the last measurement the time to end within two minutes
FULL_TIMEOUT_S = 60.0
OWN_PATIENCE = 3  # goals need this package's own figures in full
WALK_PATIENCE = 1 / 3  # a walk's requests are counted without latency anyway
COUNTING_TIMEOUT_S = 300.0


class Runner:
    """Measures tools, each in a process of its own, against one running endpoint."""

    def __init__(
        self,
        endpoint: SyntheticEndpoint,
        timeout_s: float,
        *,
        count_requests: bool,
        budget_s: float = math.inf,
    ) -> None:
        """Cut peers off at `timeout_s` or, to count a walk's requests without latency, sooner.

        What is not begun within `budget_s` is skipped.
        """
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._count_requests = count_requests
        self._deadline = time.monotonic() + budget_s

    def measure(self, scenario: Scenario, tool: str) -> Measurement:
        """Return the figures of `tool` in `scenario`."""
        if time.monotonic() > self._deadline:
            return Measurement(scenario, tool, status="skipped", error="no time was left")
        patience = OWN_PATIENCE if tool in (OWN, OWN_ITERATOR) else 1.0
        if self._count_requests and not scenario.flat:
            patience *= WALK_PATIENCE
        measured = self._run(scenario, tool, self._timeout_s * patience)
        if measured.status == "timeout":
            measured = replace(measured, total_requests=self._total(scenario, tool))
        return measured

    def _total(self, scenario: Scenario, tool: str) -> float | None:
        """Return how many requests a listing that was cut off would have sent, if that is known."""
        if scenario.flat:
            return -(-scenario.keys // PAGE_SIZE)
        if not self._count_requests:
            return None
        counted = self._run(replace(scenario, latency_s=0.0), tool, COUNTING_TIMEOUT_S)
        return counted.requests if counted.status == "ok" else None

    def _run(self, scenario: Scenario, tool: str, timeout_s: float) -> Measurement:
        self._endpoint.configure(latency_s=scenario.latency_s)
        arguments = [tool, f"--url={self._endpoint.url}", f"--bucket={scenario.bucket}"]
        arguments += [f"--pattern={scenario.pattern}", f"--repeat={scenario.repeat}"]
        arguments += ["--detail"] if scenario.detail else []
        return Measurement(scenario, tool, **figures_of("benchmarks.peers", arguments, timeout_s))


def measure_all(
    runner: Runner, scenarios: Iterable[Scenario], progress: Callable[[str], None]
) -> Iterator[Measurement]:
    """Yield a measurement of every tool in every scenario, telling `progress` of each turn."""
    for scenario in scenarios:
        turns: dict[str, list[Measurement]] = {tool: [] for tool in scenario.tools}
        for number in range(scenario.rounds):
            for tool in scenario.compared if number else scenario.tools:
                measured = runner.measure(scenario, tool)
                latency = f"{scenario.latency_s * 1000:g} ms"
                progress(f"{scenario.name} ({latency}) {tool}: {report.summary(measured)}")
                turns[tool].append(measured)
        yield from map(report.least_disturbed, turns.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if tools disagree about what matches, else 0."""
    options = parse(_parser(), arguments)
    started = time.perf_counter()
    latency_s = options.latency_ms / 1000
    scenarios = [
        replace(one, latency_s=latency_s) if one.latency_s == REQUEST_LATENCY_S else one
        for one in (quick() if options.quick else full())
        if options.only in one.name
    ]
    timeout_s = options.timeout or (QUICK_TIMEOUT_S if options.quick else FULL_TIMEOUT_S)
    with SyntheticEndpoint(BUCKETS) as endpoint:
        budget_s = QUICK_BUDGET_S if options.quick else math.inf
        runner = Runner(endpoint, timeout_s, count_requests=not options.quick, budget_s=budget_s)
        measurements = list(
            measure_all(runner, scenarios, lambda line: print(line, file=sys.stderr, flush=True))
        )

    def plot(directory: Path) -> list[Path]:
        from benchmarks import plots  # matplotlib, for those who want pictures

        return plots.write(measurements, directory)

    text = report.markdown(
        measurements,
        elapsed_s=time.perf_counter() - started,
        command=options.command,
        pictures=pictures(options, plot),
    )
    return give_out(options, text, report.as_json(measurements), report.disagreements(measurements))


def _parser() -> argparse.ArgumentParser:
    parser = command_line(
        "listing",
        "List generated buckets with this package, s3fs, boto3, obstore and pyarrow.",
        quick="two minutes",
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with TEXT in the name"
    )
    parser.add_argument("--latency-ms", type=float, default=REQUEST_LATENCY_S * 1000)
    return parser
