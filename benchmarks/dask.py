"""Avro files grouped and added up on a Dask cluster: this package beside dask.bag."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.avro_peers import WARM_UP
from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.process import Figures, command_line, figures_of, give_out, parse, pictures
from benchmarks.report import environment, seconds_text, table

OWN, PEER, REFERENCE = TOOLS = ("avroglob", "dask.bag", "pandas")
FILES = (4, 16, 64)
REQUEST_LATENCY_S = 0.03
TIMEOUT_S = 180.0
GOAL = 10
PACKAGES = ("fsspec-avroglob", "dask", "distributed", "pandas", "pyarrow", "fastavro", "s3fs")
_CONTENT = "codec=snappy,fields=6"


@dataclass(frozen=True)
class Measurement(Figures):
    """The figures of one tool.

    cpu_s, peak_memory_bytes: of the process that asks, without those of the cluster.
    result: sums by group.
    """

    files: int
    tool: str
    result: dict[str, list[float]] | None = None


def measure(endpoint: SyntheticEndpoint, files: int, tool: str, timeout_s: float) -> Measurement:
    """Return the figures of a tool, in processes of its own."""
    endpoint.configure(latency_s=REQUEST_LATENCY_S)
    arguments = [tool, f"--url={endpoint.url}", f"--bucket=files-{files}"]
    arguments += ["--repeat=3"] if tool == OWN else []
    return Measurement(files, tool, **figures_of("benchmarks.dask_peers", arguments, timeout_s))


def ratio(measurements: Sequence[Measurement], files: int) -> float | None:
    """Return how many times this package's time the peer takes."""
    walls = {one.tool: one.wall_s for one in measurements if _ended(one) and one.files == files}
    return walls[PEER] / walls[OWN] if {OWN, PEER} <= walls.keys() else None


def disagreements(measurements: Sequence[Measurement]) -> list[str]:
    """Return a line for each result that is not that of pandas."""
    right = {one.files: one.result for one in measurements if one.tool == REFERENCE}
    return [
        f"{one.files} files: {one.tool} has {one.result}, not {right[one.files]}"
        for one in measurements
        if one.status != "timeout" and (one.result is None or one.result != right[one.files])
    ]


def markdown(
    measurements: Sequence[Measurement], *, elapsed_s: float, command: str, pictures: Sequence[str]
) -> str:
    """Return the report: the goal, every figure, pictures."""
    about = ", ".join(f"{name} {value}" for name, value in environment(PACKAGES).items())
    most = max(one.files for one in measurements)
    found = ratio(measurements, most)
    outcome = ["not measured", ""]
    if found is not None:
        outcome = [f"{found:.3g} x", "yes" if found >= GOAL else "no"]
    goal = f"{most} files: {GOAL} x faster than {PEER}"
    rows = [_row(one, measurements) for one in measurements]
    sections = [
        "# Dask",
        "Sums of two columns by a third, of files of 20,000 rows, on a cluster of four processes "
        f"with one thread each: `{OWN}` is `fsspec_avroglob.dask.read_avro(...).groupby(...)`, "
        f"`{PEER}` is `dask.bag.read_avro(...).to_dataframe().groupby(...)`, `{REFERENCE}` is one "
        "process with fastavro and no Dask. All results are equal. "
        f"Measured in one run of {elapsed_s:.0f} s of `{command}` against a "
        f"synthetic endpoint on the same machine that takes "
        f"{REQUEST_LATENCY_S * 1000:g} ms a request ({about}). "
        "The clusters have started and imported what they need before.",
        table(["goal", "measured", "met"], [[goal, *outcome]]),
        table(["files", "tool", "wall", "times ours", "requests"], rows),
        *pictures,
    ]
    return "\n\n".join(sections) + "\n"


def _row(one: Measurement, measurements: Sequence[Measurement]) -> list[str]:
    if one.status == "failed":
        return [str(one.files), one.tool, f"failed: {one.error}", "", ""]
    more = "" if _ended(one) else "> "
    own = [other for other in measurements if other.files == one.files and other.tool == OWN]
    times = f"{more}{one.wall_s / own[0].wall_s:.3g} x" if own and own[0] is not one else ""
    wall = more + seconds_text(one.wall_s)
    return [str(one.files), one.tool, wall, times, f"{more}{one.requests:,.0f}"]


def _ended(one: Measurement) -> bool:
    return one.status == "ok"


def _plot(measurements: Sequence[Measurement], directory: Path) -> list[Path]:
    from benchmarks import plots  # matplotlib, for those who want pictures

    plots.reproducible()
    directory.mkdir(parents=True, exist_ok=True)
    figure, axes = plots.logarithmic_axes("wall time, s")
    for tool in TOOLS:
        points = [(one.files, one.wall_s) for one in measurements if one.tool == tool]
        axes.plot(*zip(*points, strict=True), "o-", label=tool)
    axes.set_xscale("log")
    axes.set_xlabel("files of 20,000 rows")
    plots.legend(axes, len(TOOLS))
    return [plots.save(figure, directory / "dask-wall-by-files.svg")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a result is not that of pandas, else 0."""
    options = parse(_parser(), arguments)
    started = time.perf_counter()
    measurements: list[Measurement] = []
    counts = FILES[-1:] if options.quick else FILES
    buckets = {f"files-{n}": f"counters:{n}@avro:rows=20000,{_CONTENT}" for n in counts}
    buckets[WARM_UP] = f"counters:1@avro:rows=10,{_CONTENT}"
    with SyntheticEndpoint(buckets) as endpoint:
        for files in counts:
            for tool in TOOLS:
                one = measure(endpoint, files, tool, options.timeout or TIMEOUT_S)
                measurements.append(one)
                figures = one.error or f"{one.wall_s:.3f} s, {one.requests:.0f} requests"
                print(f"{files} files, {tool}: {one.status}, {figures}", file=sys.stderr)
    text = markdown(
        measurements,
        elapsed_s=time.perf_counter() - started,
        command=options.command,
        pictures=pictures(options, lambda directory: _plot(measurements, directory)),
    )
    figures_out: dict[str, Any] = {
        "environment": environment(PACKAGES),
        "measurements": [asdict(one) for one in measurements],
    }
    return give_out(options, text, figures_out, disagreements(measurements))


def _parser() -> argparse.ArgumentParser:
    return command_line(
        "dask", "Group and add up generated Avro files on a Dask cluster.", quick="a minute"
    )
