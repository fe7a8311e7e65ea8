"""What was measured, as tables of Markdown and as JSON: ratios within one run first."""

import math
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.process import Figures
from benchmarks.scenarios import OWN, OWN_ITERATOR, Goal, Scenario

PACKAGES = ("fsspec-avroglob", "s3fs", "aiobotocore", "boto3", "obstore", "pyarrow")
# What goals are about: in words, the divisor for display, the unit after that.
MEASURES: dict[str, tuple[str, int, str]] = {
    "requests": ("requests", 1, ""),
    "wall_s": ("wall time", 1, " s"),
    "cpu_s": ("CPU time", 1, " s"),
    "peak_memory_bytes": ("peak memory", 1 << 20, " MiB"),
    "first_match_s": ("first match", 1, " s"),
}


@dataclass(frozen=True)
class Measurement(Figures):
    """The figures of one tool in one scenario.

    total_requests: for a timeout, how many requests it would have taken, if that is known.
    digest: of the sorted names of all matches.
    """

    scenario: Scenario
    tool: str
    matches: int | None = None
    first_match_s: float | None = None
    digest: str | None = None
    total_requests: float | None = None

    @property
    def measured(self) -> bool:
        """Whether there are figures."""
        return self.status in ("ok", "timeout")

    @property
    def estimated_wall_s(self) -> float | None:
        """The wall time, for one that was cut off from its pace up to then; None if unknown."""
        if self.status == "ok":
            return self.wall_s
        if self.total_requests and self.requests:
            return self.wall_s * self.total_requests / self.requests
        return None

    @property
    def cpu_per_key_us(self) -> float | None:
        """Microseconds of CPU for each key of a flat bucket, cut off or not."""
        if not self.measured or not self.scenario.flat:
            return None
        share = self.requests / self.total_requests if self.total_requests else 1.0
        return self.cpu_s / (self.scenario.keys * share) * 1e6


@dataclass(frozen=True)
class Verdict:
    """A goal held against what was measured.

    value, limit: None where measuring failed.
    exact: whether nothing that was cut off had to be extrapolated.
    """

    scenario: Scenario
    goal: Goal
    value: float | None
    limit: float | None
    exact: bool = True

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value is not None and self.limit is not None and self.value <= self.limit


def verdicts(measurements: Sequence[Measurement]) -> Iterator[Verdict]:
    """Yield each goal of each scenario with its outcome."""
    found = {(one.scenario.name, one.tool): one for one in measurements}
    for scenario in _scenarios(measurements):
        own = found.get((scenario.name, scenario.tools[0]))
        for goal in scenario.goals:
            value = _figure(own, goal.measure)
            if goal.of is None:
                yield Verdict(scenario, goal, value, goal.limit)
            elif goal.of == "latency":
                yield Verdict(scenario, goal, value, goal.limit * scenario.latency_s)
            else:
                other = found.get((scenario.name, goal.of)) or found.get((goal.of, OWN))
                base = _figure(other, goal.measure)
                limit = None if base is None else goal.limit * base
                exact = all(one is None or one.status == "ok" for one in (own, other))
                yield Verdict(scenario, goal, value, limit, exact)


def _figure(measurement: Measurement | None, measure: str) -> float | None:
    """Return a figure in full: one that was cut off is extrapolated where its pace is known."""
    if measurement is None or not measurement.measured:
        return None
    if measurement.status == "timeout":
        if not measurement.total_requests or measure not in ("wall_s", "cpu_s"):
            return None
        share = measurement.requests / measurement.total_requests
        return float(getattr(measurement, measure)) / share
    value = getattr(measurement, measure)
    return None if value is None else float(value)


def least_disturbed(turns: Sequence[Measurement]) -> Measurement:
    """Return the measurement with the least CPU time of those of one tool in one scenario."""
    return min(turns, key=lambda one: _figure(one, "cpu_s") or math.inf)


def disagreements(measurements: Sequence[Measurement]) -> list[str]:
    """Return a line for each pattern of which not all tools, in all scenarios, found the same."""
    asked: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        if one.status == "ok":
            asked.setdefault((one.scenario.bucket, one.scenario.pattern), []).append(one)
    lines = []
    for (bucket, pattern), own in asked.items():
        digests = {one.digest for one in own if one.digest}
        if len(digests) > 1 or len({one.matches for one in own}) > 1:
            counts = ", ".join(f"{one.tool} {one.matches} ({one.scenario.name})" for one in own)
            lines.append(f"{bucket}/{pattern}: tools disagree about the matches: {counts}")
    return lines


def summary(one: Measurement) -> str:
    """Return one measurement on one line."""
    if not one.measured:
        return f"{one.status}: {one.error}"
    more = "> " if one.status == "timeout" else ""
    return f"{more}{one.requests:g} requests, {more}{one.wall_s:.3f} s, CPU {one.cpu_s:.3f} s"


def as_json(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return everything, ready for `json.dumps`."""
    return {
        "environment": environment(),
        "measurements": [
            asdict(one)
            | {"estimated_wall_s": one.estimated_wall_s, "cpu_per_key_us": one.cpu_per_key_us}
            for one in measurements
        ],
        "goals": [
            {
                "scenario": one.scenario.name,
                **asdict(one.goal),
                "value": one.value,
                "bound": one.limit,
                "met": one.met,
            }
            for one in verdicts(measurements)
        ],
    }


def environment(packages: Sequence[str] = PACKAGES) -> dict[str, str | int]:
    """Return what the figures depend on: the machine's cores and the versions."""
    versions: dict[str, str | int] = {"cores": os.cpu_count() or 0}
    versions["python"] = platform.python_version()
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def markdown(
    measurements: Sequence[Measurement], *, elapsed_s: float, command: str, pictures: Sequence[str]
) -> str:
    """Return the report: ratios, goals, pictures, then every figure."""
    about = ", ".join(f"{name} {value}" for name, value in environment().items())
    sections = [
        "# Listing",
        f"Measured in one run of {elapsed_s:.0f} s of `{command}` against a "
        f"synthetic endpoint on the same machine ({about}). "
        "Each measurement has a process of its own. CPU is that of the tool's process, where it is "
        "compared the least of a few turns; memory is its peak above the idle process. `>`: cut "
        "off, with the requests up to then; `≈`: cut off, and extrapolated from its pace to all "
        "the requests that it takes.",
        "## Wall time, and how many times this package's",
        _ratio_table(measurements),
        "## Goals",
        _goal_table(measurements),
        *pictures,
        "## All figures",
        *(_scenario_section(one, measurements) for one in _scenarios(measurements)),
    ]
    return "\n\n".join(sections) + "\n"


def _ratio_table(measurements: Sequence[Measurement]) -> str:
    tools = list(dict.fromkeys(one.tool for one in measurements if one.tool != OWN_ITERATOR))
    rows = []
    for scenario in _scenarios(measurements):
        of = {one.tool: one for one in measurements if one.scenario == scenario}
        own = of.get(OWN)
        if own is not None:
            cells = [_wall_and_ratio(of.get(tool), own) for tool in tools]
            rows.append([f"{scenario.name}, {_latency(scenario)}", *cells])
    return table(["", *tools], rows)


def _wall_and_ratio(one: Measurement | None, own: Measurement) -> str:
    if one is None or not one.measured:
        return "" if one is None else one.status
    text = _wall(one)
    seconds = one.estimated_wall_s or one.wall_s
    if one is own or own.status != "ok":
        return text
    return f"{text} ({'>' if one.estimated_wall_s is None else ''}{seconds / own.wall_s:.3g} x)"


def _goal_table(measurements: Sequence[Measurement]) -> str:
    rows = []
    for one in verdicts(measurements):
        name, scale, unit = MEASURES[one.goal.measure]
        if one.goal.of:
            of = "request latencies" if one.goal.of == "latency" else f"x {one.goal.of}"
            scale, unit = 1, f" {of}"
        measured = "not measured"
        if one.value is not None and one.limit:
            figure = one.value / one.limit * one.goal.limit / scale
            measured = f"{'' if one.exact else '≈ '}{figure:.3g}{unit}"
        rows.append(
            [
                f"{one.scenario.name}, {_latency(one.scenario)}",
                f"{name} at most {one.goal.limit / scale:g}{unit}",
                measured,
                "yes" if one.met else "no",
            ]
        )
    return table(["scenario", "goal", "measured", "met"], rows)


def _scenario_section(scenario: Scenario, measurements: Iterable[Measurement]) -> str:
    what = "with details" if scenario.detail else "names"
    title = f"### {scenario.name}, {_latency(scenario)}\n\n"
    title += f"`{scenario.pattern}`, {scenario.keys:,} keys in the bucket, {what}."
    header = ["tool", "matches", "requests", "in flight", "wall", "CPU", "CPU per key", "memory"]
    mine = [one for one in measurements if one.scenario == scenario]
    if all(one.status == "skipped" for one in mine):
        return f"{title}\n\nNot measured: {mine[0].error}."
    rows = [_row(one) for one in mine]
    return f"{title}\n\n{table(header, rows)}"


def _row(one: Measurement) -> list[str]:
    if not one.measured:
        return [one.tool, one.status, *[""] * 6]
    more = "> " if one.status == "timeout" else ""
    total = f" of {one.total_requests:,.0f}" if one.total_requests else ""
    memory = one.peak_memory_bytes
    per_key = one.cpu_per_key_us
    return [
        one.tool,
        "" if one.matches is None else f"{one.matches:,}",
        f"{one.requests:,.0f}{total}" if total else f"{more}{one.requests:,.0f}",
        str(one.peak_in_flight),
        _wall(one),
        f"{more}{one.cpu_s:.3g} s",
        "" if per_key is None else f"{per_key:.2f} µs",
        "" if memory is None else f"{more}{memory / (1 << 20):.0f} MiB",
    ]


def _wall(one: Measurement) -> str:
    if one.status == "ok":
        return seconds_text(one.wall_s)
    if one.estimated_wall_s is None:
        return f"> {seconds_text(one.wall_s)}"
    return f"≈ {seconds_text(one.estimated_wall_s)}"


def seconds_text(seconds: float) -> str:
    """Return a time in words, in milliseconds below one second."""
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _latency(scenario: Scenario) -> str:
    return f"{scenario.latency_s * 1000:g} ms a request" if scenario.latency_s else "no latency"


def _scenarios(measurements: Iterable[Measurement]) -> list[Scenario]:
    return list(dict.fromkeys(one.scenario for one in measurements))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
