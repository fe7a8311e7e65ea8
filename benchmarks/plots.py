"""SVG plots of what was measured, over pattern, key count and latency, for each tool."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.report import Measurement
from benchmarks.scenarios import ALL, LATENCY_SWEEP_KEYS

_PALETTE = ("#0b6e4f", "#3d6fb6", "#8e5ea2", "#d98b2b", "#b3362f")


def colours_of(tools: Sequence[str]) -> dict[str, str]:
    """Return a colour for each of five tools, the first of them this package."""
    return dict(zip(tools, _PALETTE, strict=True))


COLOURS = colours_of(ALL)
Value = Callable[[Measurement], float | None]

MEASURES: dict[str, tuple[str, Value]] = {
    "requests": ("requests", lambda one: one.total_requests or one.requests),
    "wall": ("wall time, s", lambda one: one.estimated_wall_s or one.wall_s),
    "cpu": ("CPU time, s", lambda one: one.cpu_s),
    "cpu-per-key": ("CPU per key, µs", lambda one: one.cpu_per_key_us),
}


def write(measurements: Sequence[Measurement], directory: Path) -> list[Path]:
    """Write the plots to `directory`, which is made if need be; return their paths.

    Hollow markers and hatched bars stand for listings that were cut off: extrapolated, or a lower
    bound where that was impossible.
    """
    reproducible()
    directory.mkdir(parents=True, exist_ok=True)
    found = [one for one in measurements if one.measured and one.tool in COLOURS]
    figures: dict[str, Figure | None] = {}
    for name in ("requests", "wall", "cpu"):
        figures[f"{name}-by-pattern"] = _bars([one for one in found if _is(one, "patterns")], name)
    plain = [one for one in found if one.scenario.pattern == "data/*" and not one.scenario.detail]
    remote = [one for one in plain if one.scenario.latency_s and _is(one, "keys")]
    local = [one for one in plain if not one.scenario.latency_s and _is(one, "keys")]
    by_keys = ("keys in one directory", lambda one: float(one.scenario.keys))
    by_latency = ("latency of a request, ms", lambda one: one.scenario.latency_s * 1000)
    figures["requests-by-keys"] = _lines(remote, "requests", *by_keys)
    figures["wall-by-keys"] = _lines(remote, "wall", *by_keys)
    figures["cpu-per-key-by-keys"] = _lines(local, "cpu-per-key", *by_keys)
    swept = [one for one in plain if _is(one, "keys") or _is(one, "latency")]
    over_latency = [one for one in swept if one.scenario.keys == LATENCY_SWEEP_KEYS]
    for name in ("requests", "wall", "cpu-per-key"):
        figures[f"{name}-by-latency"] = _lines(over_latency, name, *by_latency, logarithmic=False)
    return [save(figure, directory / f"{name}.svg") for name, figure in figures.items() if figure]


def reproducible() -> None:
    """Have the same measurements give the same file: no random identifiers."""
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})


def _is(one: Measurement, group: str) -> bool:
    return one.scenario.group == group


def _lines(
    measurements: Sequence[Measurement],
    measure: str,
    x_label: str,
    x_of: Callable[[Measurement], float],
    *,
    logarithmic: bool = True,
) -> Figure | None:
    if len({x_of(one) for one in measurements}) < 2:
        return None
    figure, axes = logarithmic_axes(MEASURES[measure][0])
    value_of = MEASURES[measure][1]
    for tool, colour in COLOURS.items():
        points = sorted(
            (x_of(one), value_of(one) or 0.0, one.status == "ok")
            for one in measurements
            if one.tool == tool
        )
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], color=colour, label=tool)
        for x, y, measured in points:
            axes.plot(x, y, "o", color=colour, markerfacecolor=colour if measured else "white")
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(x_label)
    legend(axes, len(COLOURS))
    return figure


def _bars(measurements: Sequence[Measurement], measure: str) -> Figure | None:
    if not measurements:
        return None
    figure, axes = logarithmic_axes(MEASURES[measure][0])
    names = list(dict.fromkeys(one.scenario.name for one in measurements))
    width = 0.8 / len(COLOURS)
    for place, (tool, colour) in enumerate(COLOURS.items()):
        for one in measurements:
            if one.tool == tool:
                x = names.index(one.scenario.name) + (place - (len(COLOURS) - 1) / 2) * width
                hatch = None if one.status == "ok" else "////"
                height = MEASURES[measure][1](one) or 0.0
                axes.bar(x, height, width, color=colour, hatch=hatch, edgecolor="white")
        axes.bar(0, 0, color=colour, label=tool)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel(f"pattern over {measurements[0].scenario.keys:,} keys")
    legend(axes, len(COLOURS))
    return figure


def legend(axes: Any, columns: int) -> None:
    """Add a legend of one line above the axes."""
    axes.legend(frameon=False, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, 1.12))


def logarithmic_axes(label: str) -> tuple[Figure, Any]:
    """Return a figure and its axes, whose y axis is logarithmic and has a label."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """Write a figure without its date; return the path."""
    figure.savefig(path, metadata={"Date": None})
    return path
