"""`python -m benchmarks avro`: generated Avro files read with every tool, side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from benchmarks import avro_shapes, report
from benchmarks.avro_peers import WARM_UP
from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.process import Measurement, measure
from benchmarks.report import MIB, OWN, Benchmark, Plot, Point, Verdict

PEERS = ("polars-avro", "jetliner", "fastavro", "dask")
ALL = (OWN, *PEERS)
PACKAGES = ("fsspec-avroglob", "s3fs", "fastavro", "polars-avro", "polars", "jetliner", "dask")
PACKAGES += ("datafusion", "pandas", "pyarrow")
TIMEOUT_S, QUICK_TIMEOUT_S = 120.0, 30.0
BIG_REPEAT = 1270
ABOUT = (
    "{run} Each measurement has its own process, which has read one small file before. Every tool "
    "ends with a pandas DataFrame unless its name says otherwise. CPU is the time of the tool's "
    "process. Memory is its peak above the idle process. Shapes that cost readers much are local "
    "files: there, each tool returns its own kind of table, or records one after another."
)


@dataclass(frozen=True)
class Scenario:
    """Files of one bucket read by several tools, each in a process of its own.

    group: the plot it belongs to. rows: of each file; fields: of each row. repeat_blocks: how often
    a file repeats its blocks. repeat: how often one process reads it, for medians.
    """

    group: Literal["goals", "files", "rows", "codec", "width", "latency"]
    files: int = 16
    rows: int = 20_000
    codec: str = "snappy"
    fields: int = 6
    latency_s: float = 0.03
    repeat_blocks: int = 1
    tools: tuple[str, ...] = ALL
    repeat: int = 1

    @property
    def bucket(self) -> str:
        """A name for the bucket, equal for equal files."""
        return f"{self.codec}-{self.files}-{self.rows}-{self.fields}-{self.repeat_blocks}"

    @property
    def spec(self) -> str:
        """The files, as the endpoint's bucket specification."""
        content = f"rows={self.rows},codec={self.codec},fields={self.fields}"
        return f"counters:{self.files}@avro:{content},repeat={self.repeat_blocks}"

    @property
    def title(self) -> str:
        """The files and the latency in words."""
        rows = self.rows * self.repeat_blocks
        files = f"{self.files:,} file{'s' * (self.files > 1)} x {rows:,} rows"
        return f"{files} x {self.fields} fields, {self.codec}, {self.latency_s * 1000:g} ms"

    @property
    def total_rows(self) -> int:
        """The rows of all files."""
        return self.files * self.rows * self.repeat_blocks


MANY = Scenario("goals", files=64, tools=(*ALL, "avroglob-table", "avroglob-fastavro"), repeat=3)
BIG = Scenario("goals", files=1, repeat_blocks=BIG_REPEAT, tools=(OWN, "polars-avro", "jetliner"))
SMALL = Scenario("goals", files=1000, rows=20, tools=("avroglob-resolve", OWN, "polars-avro"))
MEMORY_PAIRS = {
    "avroglob-memory": "polars-avro-memory",
    "avroglob-memory-records": "fastavro-memory",
}
MEMORY = Scenario(
    "goals",
    files=1,
    repeat_blocks=20,
    latency_s=0.0,
    tools=tuple(tool for pair in MEMORY_PAIRS.items() for tool in pair),
    repeat=5,
)
BOUNDED = replace(BIG, repeat_blocks=8 * BIG_REPEAT, tools=("avroglob-batches",))
X_AXES: dict[str, tuple[str, Callable[[Scenario], float | str]]] = {
    "files": ("files of 2,000 rows", lambda one: one.files),
    "rows": ("rows of each of 4 files", lambda one: one.rows),
    "codec": ("codec", lambda one: one.codec),
    "width": ("fields of a row", lambda one: one.fields),
    "latency": ("latency of a request, ms", lambda one: one.latency_s * 1000),
}


def full() -> Iterator[Scenario]:
    """Yield everything that is measured."""
    yield from (MANY, BIG, SMALL, BOUNDED, MEMORY)
    base = Scenario("files")
    yield from (replace(base, files=count, rows=2_000) for count in (1, 4, 16, 64, 256))
    yield from (replace(base, group="rows", files=4, rows=n) for n in (1_000, 10_000, 100_000))
    for codec in ("null", "deflate", "snappy", "zstandard"):
        yield replace(base, group="codec", codec=codec)
    yield from (replace(base, group="width", fields=n) for n in (2, 6, 24, 96))
    yield from (replace(base, group="latency", latency_s=s) for s in (0.0, 0.01, 0.03, 0.1))


def quick() -> Iterator[Scenario]:
    """Yield what answers the goals that a small machine can answer in about two minutes."""
    yield replace(MANY, tools=(OWN, "polars-avro"), repeat=3)
    yield replace(BIG, tools=(OWN, "polars-avro"))
    yield replace(SMALL, tools=("avroglob-resolve",))
    yield MEMORY


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a tool does not find all rows, else 0."""
    parser = report.command_line(
        "avro",
        "Read generated Avro files with this package, polars-avro, jetliner, fastavro and dask.",
        quick="a few minutes",
    )
    options = report.parse(parser, arguments)
    scenarios = [one for one in (quick() if options.quick else full()) if options.only in one.title]
    timeout_s = options.timeout or (QUICK_TIMEOUT_S if options.quick else TIMEOUT_S)
    measurements: list[Measurement] = []
    with SyntheticEndpoint({WARM_UP: "counters:1@avro:rows=10,codec=snappy"}) as endpoint:
        for scenario in scenarios:
            endpoint.add_buckets({scenario.bucket: scenario.spec})
            endpoint.configure(latency_s=scenario.latency_s)
            asked = [f"--url={endpoint.url}", f"--bucket={scenario.bucket}"]
            asked += [f"--repeat={scenario.repeat}"]
            for tool in scenario.tools:
                one = measure("benchmarks.avro_peers", scenario, tool, asked, timeout_s)
                measurements.append(report.show(one))
            endpoint.add_buckets({scenario.bucket: []})  # frees the bytes
        with TemporaryDirectory() as root:
            shapes = avro_shapes.measurements(endpoint.url, Path(root), options.only, timeout_s)
            measurements += map(report.show, shapes)
    return report.publish(options, benchmark(measurements))


def benchmark(measurements: Sequence[Measurement]) -> Benchmark:
    """Return what the page is made of."""
    shapes = [one for one in measurements if one.scenario.group == "shapes"]
    ended = [one for one in measurements if one.status == "ok" and one not in shapes]
    plots = []
    for group, (label, x_of) in X_AXES.items():
        mine = [one for one in ended if one.scenario.group == group]
        points = [Point(one.tool, x_of(one.scenario), one.wall_s) for one in mine]
        plots.append(
            Plot(f"avro-wall-by-{group}", label, "wall time, s", points, group != "latency")
        )
    wrong = [
        f"{one.scenario.title}: {one.tool} found {one.found} rows of {one.scenario.total_rows}"
        for one in ended
        if one.tool != "avroglob-resolve" and one.found != one.scenario.total_rows
    ]
    verdicts = [*_verdicts(ended), *avro_shapes.verdicts(shapes)]
    return Benchmark("Reading Avro", ABOUT, PACKAGES, measurements, verdicts, plots, wrong)


def _verdicts(measurements: Sequence[Measurement]) -> Iterator[Verdict]:
    found = {(one.scenario.bucket, one.tool): one for one in measurements}
    yield _faster(found, MANY, 5)
    yield _faster(found, BIG, 2)
    big = found.get((BIG.bucket, OWN))
    if big is not None and big.peak_memory_bytes and big.table_bytes:
        ratio = big.peak_memory_bytes / big.table_bytes
        yield _at_most(f"{BIG.title}: memory", ratio, 2, " x the table")
    small = found.get((SMALL.bucket, "avroglob-resolve"))
    if small is not None:
        gets = small.requests_by_operation.get("GetObject", 0)
        yield _at_most(SMALL.title, gets, 1000, " GETs")
        ideal_s = gets / max(small.peak_in_flight, 1) * SMALL.latency_s
        ratio, unit = small.wall_s / ideal_s, " x requests / window x latency"
        yield _at_most(SMALL.title, ratio, 2, unit)
    for own, engine in MEMORY_PAIRS.items():
        mine, theirs = (found.get((MEMORY.bucket, tool)) for tool in (own, engine))
        if mine is not None and theirs is not None:
            what = f"{own}, {MEMORY.total_rows:,} rows"
            yield _at_most(what, mine.wall_s / theirs.wall_s, 1.25, f" x {engine}")
    bounded = found.get((BOUNDED.bucket, "avroglob-batches"))
    if bounded is not None and bounded.peak_memory_bytes is not None:
        what = f"{BOUNDED.title}: memory of batches"
        yield _at_most(what, bounded.peak_memory_bytes / MIB, 512, " MiB")


def _at_most(what: str, value: float, limit: float, unit: str) -> Verdict:
    measured = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return Verdict(f"{what}: at most {limit:,}{unit}", f"{measured}{unit}", value <= limit)


def _faster(
    found: dict[tuple[str, str], Measurement], scenario: Scenario, factor: float
) -> Verdict:
    own = found.get((scenario.bucket, OWN))
    peers = [found[scenario.bucket, t].wall_s for t in PEERS if (scenario.bucket, t) in found]
    goal = f"{scenario.title}: {factor:g} x faster than the best peer"
    if own is None or not peers:
        return Verdict(goal, None, False)
    ratio = min(peers) / own.wall_s
    return Verdict(goal, f"{ratio:.3g} x", ratio >= factor)
