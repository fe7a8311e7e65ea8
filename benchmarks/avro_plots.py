"""SVG plots of how long reading took, over each thing that was varied, for each tool."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.avro_report import ALL, Measurement, Scenario
from benchmarks.plots import colours_of, legend, logarithmic_axes, reproducible, save

COLOURS = colours_of(ALL)
X_AXES: dict[str, tuple[str, Callable[[Scenario], float | str]]] = {
    "files": ("files of 2,000 rows", lambda one: one.files),
    "rows": ("rows of each of 4 files", lambda one: one.rows),
    "codec": ("codec", lambda one: one.codec),
    "width": ("fields of a row", lambda one: one.fields),
    "latency": ("latency of a request, ms", lambda one: one.latency_s * 1000),
}


def write(measurements: Sequence[Measurement], directory: Path) -> list[Path]:
    """Write the plots to `directory`, which is made if need be; return their paths."""
    reproducible()
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for axis in X_AXES:
        found = [one for one in measurements if one.scenario.axis == axis and one.status == "ok"]
        if found:
            paths.append(save(_plot(found, axis), directory / f"avro-wall-by-{axis}.svg"))
    return paths


def _plot(measurements: Sequence[Measurement], axis: str) -> Figure:
    figure, axes = logarithmic_axes("wall time, s")
    label, x_of = X_AXES[axis]
    for tool, colour in COLOURS.items():
        points = [(x_of(one.scenario), one.wall_s) for one in measurements if one.tool == tool]
        axes.plot(
            *zip(*points, strict=True) if points else ([], []), "o-", color=colour, label=tool
        )
    if axis in ("files", "rows", "width"):
        axes.set_xscale("log")
    axes.set_xlabel(label)
    legend(axes, len(COLOURS))
    return figure
