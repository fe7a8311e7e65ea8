"""`python -m benchmarks listing`: globs over generated buckets with every tool, side by side."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from benchmarks import report
from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.process import Measurement, measure
from benchmarks.report import Benchmark, Plot, Point, Verdict
from benchmarks.scenarios import (
    ALL,
    BUCKETS,
    OWN,
    OWN_ITERATOR,
    PAGE_SIZE,
    Goal,
    Scenario,
    full,
    quick,
)

PACKAGES = ("fsspec-avroglob", "s3fs", "aiobotocore", "boto3", "obstore", "pyarrow")
QUICK_TIMEOUT_S, FULL_TIMEOUT_S = 2.5, 60.0
QUICK_BUDGET_S = 112.0  # leaves the last measurement the time to end within two minutes
OWN_PATIENCE = 3  # goals need this package's own figures in full

# What goals are about: in words, the divisor for display, the unit after that.
MEASURES: dict[str, tuple[str, int, str]] = {
    "requests": ("requests", 1, ""),
    "wall_s": ("wall time", 1, " s"),
    "cpu_s": ("CPU time", 1, " s"),
    "peak_memory_bytes": ("peak memory", 1 << 20, " MiB"),
    "first_match_s": ("first match", 1, " s"),
}
ABOUT = (
    "{run} Each measurement has its own process. CPU is the time of the tool's process; where "
    "tools are compared by it, the least of several runs. Memory is the peak above the idle "
    "process. `>` means cut off, with the figures until then. `≈` means cut off, and extrapolated "
    "from the pace until then to all requests that the tool needs."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if tools disagree about what matches, else 0."""
    parser = report.command_line(
        "listing",
        "List generated buckets with this package, s3fs, boto3, obstore and pyarrow.",
        quick="two minutes",
    )
    options = report.parse(parser, arguments)
    scenarios = [one for one in (quick() if options.quick else full()) if options.only in one.name]
    timeout_s = options.timeout or (QUICK_TIMEOUT_S if options.quick else FULL_TIMEOUT_S)
    deadline = monotonic() + (QUICK_BUDGET_S if options.quick else math.inf)
    with SyntheticEndpoint(BUCKETS) as endpoint:
        measurements = [
            one for scenario in scenarios for one in _all(endpoint, scenario, timeout_s, deadline)
        ]
    return report.publish(options, benchmark(measurements))


def benchmark(measurements: Sequence[Measurement]) -> Benchmark:
    """Return what the page is made of."""
    scenarios = list(dict.fromkeys(one.scenario for one in measurements))
    return Benchmark(
        "Listing",
        ABOUT,
        PACKAGES,
        measurements,
        list(_verdicts(measurements)),
        list(_plots(measurements)),
        _disagreements(measurements),
        f"## Wall time, and how many times this package's\n\n{_ratios(measurements)}",
        {
            one.title: f"`{one.pattern}`, {one.keys:,} keys in the bucket, "
            f"{'with details' if one.detail else 'names'}."
            for one in scenarios
        },
    )


def _all(
    endpoint: SyntheticEndpoint, scenario: Scenario, timeout_s: float, deadline: float
) -> Iterator[Measurement]:
    """Yield one measurement of every tool, of several turns the one with the least CPU time."""
    turns: dict[str, list[Measurement]] = {tool: [] for tool in scenario.tools}
    compared = {scenario.tools[0], *(goal.of for goal in scenario.goals)}
    for number in range(scenario.rounds):
        for tool in scenario.tools:
            if number and tool not in compared:
                continue
            turns[tool].append(report.show(_one(endpoint, scenario, tool, timeout_s, deadline)))
    for found in turns.values():
        yield min(found, key=lambda one: _figure(one, "cpu_s") or math.inf)


def _one(
    endpoint: SyntheticEndpoint, scenario: Scenario, tool: str, timeout_s: float, deadline: float
) -> Measurement:
    if monotonic() > deadline:
        return Measurement(scenario, tool, "skipped", "no time was left")
    endpoint.configure(latency_s=scenario.latency_s)
    arguments = [f"--url={endpoint.url}", f"--bucket={scenario.bucket}"]
    arguments += [f"--pattern={scenario.pattern}", f"--repeat={scenario.repeat}"]
    arguments += ["--detail"] if scenario.detail else []
    patience = OWN_PATIENCE if tool in (OWN, OWN_ITERATOR) else 1
    one = measure("benchmarks.peers", scenario, tool, arguments, timeout_s * patience)
    if one.status == "timeout" and scenario.flat_keys:
        one = replace(one, total_requests=-(-scenario.flat_keys // PAGE_SIZE))
    return one


def _figure(one: Measurement | None, measure: str) -> float | None:
    """Return a figure; times of a run that was cut off are extrapolated if its pace is known."""
    if one is None or not one.measured:
        return None
    value = getattr(one, measure)
    if value is None or one.status == "ok":
        return value
    return value / one.share if one.share and measure in ("wall_s", "cpu_s") else None


def _verdicts(measurements: Sequence[Measurement]) -> Iterator[Verdict]:
    found = {(one.scenario.name, one.tool): one for one in measurements}
    for scenario in dict.fromkeys(one.scenario for one in measurements):
        for goal in scenario.goals:
            yield _verdict(scenario, goal, found)


def _verdict(scenario: Scenario, goal: Goal, found: dict[tuple[str, str], Measurement]) -> Verdict:
    name, scale, unit = MEASURES[goal.measure]
    own = found.get((scenario.name, scenario.tools[0]))
    other = None
    base: float | None = scale
    if goal.of == "latency":
        base, unit = scenario.latency_s, " request latencies"
    elif goal.of is not None:
        other = found.get((scenario.name, goal.of)) or found.get((goal.of, OWN))
        base, unit = _figure(other, goal.measure), f" x {goal.of}"
    limit = goal.limit / scale
    text = f"{scenario.title}: {name} at most {limit:g}{unit}"
    value = _figure(own, goal.measure)
    if value is None or not base:
        return Verdict(text, None, False)
    exact = all(one is None or one.status == "ok" for one in (own, other))
    measured = f"{'' if exact else '≈ '}{value / base:.3g}{unit}"
    return Verdict(text, measured, value / base <= limit)


def _ratios(measurements: Sequence[Measurement]) -> str:
    tools = list(dict.fromkeys(one.tool for one in measurements if one.tool != OWN_ITERATOR))
    rows = []
    for scenario in dict.fromkeys(one.scenario for one in measurements):
        of = {one.tool: one for one in measurements if one.scenario == scenario}
        if OWN in of:
            rows.append([scenario.title, *(_wall_and_ratio(of.get(t), of[OWN]) for t in tools)])
    return report.table(["", *tools], rows)


def _wall_and_ratio(one: Measurement | None, own: Measurement) -> str:
    if one is None or not one.measured:
        return "" if one is None else one.status
    times = report.times_text(one, own)
    return report.wall_text(one) + (f" ({times.replace('> ', '>')})" if times else "")


def _plots(measurements: Sequence[Measurement]) -> Iterator[Plot]:
    figures: dict[str, tuple[str, Callable[[Measurement], float | None]]] = {
        "requests": ("requests", lambda one: one.total_requests or one.requests),
        "wall": ("wall time, s", lambda one: one.wall_s / (one.share or 1)),
        "cpu": ("CPU time, s", lambda one: one.cpu_s),
        "cpu-per-key": ("CPU per key, µs", report.cpu_per_key_us),
    }

    def plot(
        name: str, over: str, label: str, x_of: Callable[[Scenario], float | str], group: str
    ) -> Plot:
        y_label, y_of = figures[name]
        points = [
            Point(one.tool, x_of(one.scenario), y_of(one) or 0.0, one.status == "ok")
            for one in measurements
            if one.measured and one.tool in ALL and group == _group(one)
        ]
        return Plot(f"{name}-by-{over}", label, y_label, points)

    for name in ("requests", "wall", "cpu"):
        yield plot(name, "pattern", "pattern over a tree of hours", lambda of: of.name, "patterns")
    for name, group in (("requests", "remote"), ("wall", "remote"), ("cpu-per-key", "local")):
        yield plot(name, "keys", "keys in one directory", lambda of: of.keys, group)


def _group(one: Measurement) -> str:
    """The plots that a measurement belongs to."""
    scenario = one.scenario
    if scenario.group == "keys":
        plain = scenario.pattern == "data/*" and not scenario.detail
        return ("remote" if scenario.latency_s else "local") if plain else ""
    return scenario.group


def _disagreements(measurements: Sequence[Measurement]) -> list[str]:
    """Return a line for each pattern of which not all tools, in all scenarios, found the same."""
    asked: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        if one.status == "ok":
            asked.setdefault((one.scenario.bucket, one.scenario.pattern), []).append(one)
    lines = []
    for (bucket, pattern), own in asked.items():
        digests = {one.digest for one in own if one.digest}
        if len(digests) > 1 or len({one.found for one in own}) > 1:
            counts = ", ".join(f"{one.tool} {one.found} ({one.scenario.name})" for one in own)
            lines.append(f"{bucket}/{pattern}: tools disagree about the matches: {counts}")
    return lines
