"""The pages of all benchmarks: one command line, one table writer, one plot function."""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.process import Measurement

OWN = "avroglob"
MIB = 1 << 20
_PALETTE = ("#0b6e4f", "#3d6fb6", "#8e5ea2", "#d98b2b", "#b3362f", "#5b5b5b", "#1fa2a2")


class Verdict(NamedTuple):
    """A goal, what was measured of it, and whether it is met; measured is None without figures."""

    goal: str
    measured: str | None
    met: bool


class Point(NamedTuple):
    """A point of a plot; `exact` is false where a run was cut off."""

    tool: str
    x: float | str
    y: float
    exact: bool = True


class Plot(NamedTuple):
    """A plot over a varied quantity, or over names, with a logarithmic y axis."""

    name: str
    x_label: str
    y_label: str
    points: Sequence[Point]
    log_x: bool = True


@dataclass(frozen=True)
class Benchmark:
    """What the page of a benchmark is made of.

    about: the introduction; `{run}` becomes the command, its duration and the environment.
    """

    title: str
    about: str
    packages: Sequence[str]
    measurements: Sequence[Measurement]
    verdicts: Sequence[Verdict]
    plots: Sequence[Plot] = ()
    disagreements: Sequence[str] = ()
    summary: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


# --- the command line ----------------------------------------------------------------------------


def command_line(name: str, description: str, quick: str) -> argparse.ArgumentParser:
    """Return the options that all benchmarks of tools side by side have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=description)
    parser.add_argument("--quick", action="store_true", help=f"end within {quick}")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios with TEXT in a name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write SVG plots")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds before one is cut off")
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Return the options of `command_line`, the command for the page, and when it started."""
    options = parser.parse_args(arguments)
    line = shlex.join(sys.argv[1:] if arguments is None else arguments)
    options.command = f"pip install '.[bench]' && {parser.prog} {line}".rstrip()
    options.started = time.perf_counter()
    return options


def show(one: Measurement) -> Measurement:
    """Print a measurement to stderr on one line; return it."""
    more = "> " if one.status == "timeout" else ""
    figures = f"{more}{one.requests} requests, {one.wall_s:.3f} s, CPU {one.cpu_s:.3f} s"
    name = one.scenario if isinstance(one.scenario, str) else one.scenario.title
    print(f"{name}, {one.tool}: {figures if one.measured else one.error}", file=sys.stderr)
    return one


def publish(options: argparse.Namespace, benchmark: Benchmark) -> int:
    """Write the page, plots and figures that the options ask for.

    Returns 1 if the tools disagree, else 0.
    """
    text = page(options, benchmark)
    if options.markdown:
        options.markdown.write_text(text)
    else:
        print(text)
    if options.json:
        figures = {
            "environment": environment(benchmark.packages),
            "measurements": [asdict(one) for one in benchmark.measurements],
            "goals": [one._asdict() for one in benchmark.verdicts],
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    for line in benchmark.disagreements:
        print(line, file=sys.stderr)
    return 1 if benchmark.disagreements else 0


# --- the page ------------------------------------------------------------------------------------


def page(options: argparse.Namespace, benchmark: Benchmark) -> str:
    """Return the page as Markdown; write its plots if `--plots` asks for them."""
    about = ", ".join(f"{name} {value}" for name, value in environment(benchmark.packages).items())
    run = (
        f"Measured in one run of {time.perf_counter() - options.started:.0f} s of "
        f"`{options.command}` against a synthetic endpoint on the same machine ({about})."
    )
    goals = [
        [one.goal, one.measured or "not measured", met]
        for one in benchmark.verdicts
        for met in ["" if one.measured is None else "yes" if one.met else "no"]
    ]
    scenarios = list(dict.fromkeys(one.scenario for one in benchmark.measurements))
    sections = [
        f"# {benchmark.title}",
        benchmark.about.format(run=run),
        benchmark.summary,
        "## Goals\n\n" + table(["goal", "measured", "met"], goals) if goals else "",
        *_pictures(options, benchmark.plots),
        "## All figures",
        *(_section(one, benchmark) for one in scenarios),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _pictures(options: argparse.Namespace, plots: Iterable[Plot]) -> list[str]:
    if not options.plots:
        return []
    directory = options.markdown.parent if options.markdown else Path()
    paths = [path for path in (draw(one, options.plots) for one in plots) if path]
    return [
        f"![{path.stem.replace('-', ' ').capitalize()}]({os.path.relpath(path, directory)})"
        for path in paths
    ]


def _section(scenario: Any, benchmark: Benchmark) -> str:
    mine = [one for one in benchmark.measurements if one.scenario == scenario]
    title = f"### {scenario.title}"
    if note := benchmark.notes.get(scenario.title):
        title += f"\n\n{note}"
    if all(one.status == "skipped" for one in mine):
        return f"{title}\n\nNot measured: {mine[0].error}."
    return f"{title}\n\n{figures_table(mine)}"


def figures_table(measurements: Sequence[Measurement]) -> str:
    """Return a table of measurements of one scenario; columns without figures are left out."""
    own = next((one for one in measurements if one.tool == OWN and one.status == "ok"), None)
    columns = {"tool": [one.tool for one in measurements]}
    for name, value_of in _COLUMNS.items():
        columns[name] = [_cell(one, value_of(one)) for one in measurements]
        if name == "wall":
            columns["times ours"] = [times_text(one, own) for one in measurements]
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    return table(list(kept), list(zip(*kept.values(), strict=True)))


_COLUMNS: dict[str, Callable[[Measurement], str | None]] = {
    "found": lambda one: None if one.found is None else f"{one.found:,}",
    "wall": lambda one: wall_text(one),
    "CPU": lambda one: f"{one.cpu_s:.3g} s",
    "CPU per key": lambda one: _cpu_per_key_text(one),
    "MB per CPU s": lambda one: _mb_per_cpu_second_text(one),
    "requests": lambda one: f"{one.requests:,}",
    "in flight": lambda one: str(one.peak_in_flight),
    "memory": lambda one: _mib(one.peak_memory_bytes),
    "table": lambda one: _mib(one.table_bytes),
}


def _cell(one: Measurement, text: str | None) -> str:
    if not one.measured:
        return one.error or one.status
    cut_off = one.status == "timeout" and text and text[0].isdigit()
    return f"> {text}" if cut_off else text or ""


def times_text(one: Measurement, own: Measurement | None) -> str:
    """Return the wall time as a multiple of this package's; empty if there is none."""
    if own is None or one is own or own.status != "ok" or not one.measured:
        return ""
    more = "> " if one.share is None else ""
    return f"{more}{one.wall_s / (one.share or 1) / own.wall_s:.3g} x"


def wall_text(one: Measurement) -> str:
    """Return the wall time; after `>` if it was cut off, after `≈` if its pace is extrapolated."""
    if one.share is None:
        return f"> {seconds_text(one.wall_s)}"
    about = "" if one.status == "ok" else "≈ "
    return about + seconds_text(one.wall_s / one.share)


def cpu_per_key_us(one: Measurement) -> float | None:
    """Return the microseconds of CPU for each key of a flat bucket, cut off or not."""
    keys = getattr(one.scenario, "flat_keys", 0)
    return one.cpu_s / (keys * one.share) * 1e6 if keys and one.share else None


def _cpu_per_key_text(one: Measurement) -> str | None:
    value = cpu_per_key_us(one)
    about = "" if one.status == "ok" else "≈ "
    return None if value is None else f"{about}{value:.2f} µs"


def _mb_per_cpu_second_text(one: Measurement) -> str | None:
    moved = getattr(one.scenario, "moved_bytes", 0)
    return f"{moved / 1e6 / one.cpu_s:,.0f}" if moved and one.cpu_s and one.share == 1 else None


def seconds_text(seconds: float) -> str:
    """Return a time in words, in milliseconds below one second."""
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _mib(size_bytes: int | None) -> str | None:
    return None if size_bytes is None else f"{size_bytes / MIB:,.0f} MiB"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool = False) -> str:
    """Return a table of Markdown; `right` aligns its columns right."""
    lines = [header, ["---:" if right else "---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def environment(packages: Sequence[str]) -> dict[str, str | int]:
    """Return what the figures depend on: the machine's cores and the versions."""
    versions: dict[str, str | int] = {"cores": os.cpu_count() or 0}
    versions["python"] = platform.python_version()
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


# --- plots ---------------------------------------------------------------------------------------


def draw(plot: Plot, directory: Path) -> Path | None:
    """Write a plot as SVG to `directory`, created if missing; None if there are not two x values.

    Hollow markers are runs that were cut off: extrapolated, or a lower bound.
    """
    if len({point.x for point in plot.points}) < 2:
        return None
    import matplotlib
    from matplotlib.figure import Figure

    # The same measurements give the same file: no random identifiers, no date.
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    tools = list(dict.fromkeys(point.tool for point in plot.points))
    for tool, colour in zip(tools, _PALETTE, strict=False):
        mine = [point for point in plot.points if point.tool == tool]
        named = any(isinstance(point.x, str) for point in mine)
        mine = mine if named else sorted(mine, key=lambda point: point.x)
        line = "" if named else "-"
        axes.plot([p.x for p in mine], [p.y for p in mine], line, color=colour)
        for point in mine:
            face = colour if point.exact else "white"
            axes.plot([point.x], [point.y], "o", color=colour, markerfacecolor=face)
        axes.plot([], [], "o" + line, color=colour, label=tool)
    axes.set_yscale("log")
    if plot.log_x and not any(isinstance(point.x, str) for point in plot.points):
        axes.set_xscale("log")
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(tools), loc="upper center", bbox_to_anchor=(0.5, 1.12))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{plot.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    return path
