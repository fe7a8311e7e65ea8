"""What is read, with what goals, and what was measured as Markdown and JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from benchmarks.process import Figures
from benchmarks.report import environment, seconds_text, table

OWN = "avroglob"
PEERS = ("polars-avro", "jetliner", "fastavro", "dask")
ALL = (OWN, *PEERS)
PACKAGES = ("fsspec-avroglob", "s3fs", "fastavro", "polars-avro", "polars", "jetliner", "dask")
PACKAGES += ("pandas", "pyarrow")
REQUEST_LATENCY_S = 0.03
BIG_REPEAT = 1270
MIB = 1 << 20

Axis = Literal["goals", "files", "rows", "codec", "width", "latency"]


@dataclass(frozen=True)
class Scenario:
    """Files of one bucket read by several tools, each in a process of its own.

    axis: what a plot shows it over. rows: of each file; fields: of each row. repeat_blocks: how
    often a file has the same blocks again. repeat: how often it is read, for medians.
    """

    axis: Axis
    files: int = 16
    rows: int = 20_000
    codec: str = "snappy"
    fields: int = 6
    latency_s: float = REQUEST_LATENCY_S
    repeat_blocks: int = 1
    tools: tuple[str, ...] = ALL
    repeat: int = 1

    @property
    def bucket(self) -> str:
        """A name for the bucket, equal for equal files."""
        return f"{self.codec}-{self.files}-{self.rows}-{self.fields}-{self.repeat_blocks}"

    @property
    def spec(self) -> str:
        """What the endpoint is to serve."""
        content = f"rows={self.rows},codec={self.codec},fields={self.fields}"
        return f"counters:{self.files}@avro:{content},repeat={self.repeat_blocks}"

    @property
    def name(self) -> str:
        """A title."""
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


def full() -> Iterator[Scenario]:
    """Yield everything that is measured."""
    yield from (MANY, BIG, SMALL, BOUNDED, MEMORY)
    base = Scenario("files")
    yield from (replace(base, files=count, rows=2_000) for count in (1, 4, 16, 64, 256))
    yield from (replace(base, axis="rows", files=4, rows=n) for n in (1_000, 10_000, 100_000))
    for codec in ("null", "deflate", "snappy", "zstandard"):
        yield replace(base, axis="codec", codec=codec)
    yield from (replace(base, axis="width", fields=n) for n in (2, 6, 24, 96))
    yield from (replace(base, axis="latency", latency_s=s) for s in (0.0, 0.01, 0.03, 0.1))


def quick() -> Iterator[Scenario]:
    """Yield what answers the goals that a small machine can answer in about two minutes."""
    yield replace(MANY, tools=(OWN, "polars-avro"), repeat=3)
    yield replace(BIG, tools=(OWN, "polars-avro"))
    yield replace(SMALL, tools=("avroglob-resolve",))
    yield MEMORY


@dataclass(frozen=True)
class Measurement(Figures):
    """The figures of one tool in one scenario; table_bytes: of the result in memory."""

    scenario: Scenario
    tool: str
    table_bytes: int | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured of it; value None where it was not."""

    goal: str
    value: float | None
    unit: str
    met: bool


def verdicts(measurements: Sequence[Measurement]) -> Iterator[Verdict]:
    """Yield each goal with its outcome."""
    found = {(one.scenario.bucket, one.tool): one for one in measurements if one.status == "ok"}
    yield _faster(found, MANY, 5)
    yield _faster(found, BIG, 2)
    big = found.get((BIG.bucket, OWN))
    if big is not None and big.peak_memory_bytes and big.table_bytes:
        ratio = big.peak_memory_bytes / big.table_bytes
        yield Verdict(f"{BIG.name}: memory at most 2 x the table", ratio, " x", ratio <= 2)
    small = found.get((SMALL.bucket, "avroglob-resolve"))
    if small is not None:
        gets = small.requests_by_operation.get("GetObject", 0)
        yield Verdict(f"{SMALL.name}: at most 1,000 GETs", gets, "", gets <= 1000)
        ideal = gets / max(small.peak_in_flight, 1) * SMALL.latency_s
        goal = f"{SMALL.name}: at most 2 x requests / window x latency"
        yield Verdict(goal, small.wall_s / ideal, " x", small.wall_s <= 2 * ideal)
    for own, engine in MEMORY_PAIRS.items():
        mine, theirs = (found.get((MEMORY.bucket, tool)) for tool in (own, engine))
        if mine is not None and theirs is not None:
            ratio = mine.wall_s / theirs.wall_s
            goal = f"{own}, {MEMORY.total_rows:,} rows: at most 1.25 x {engine}"
            yield Verdict(goal, ratio, " x", ratio <= 1.25)
    bounded = found.get((BOUNDED.bucket, "avroglob-batches"))
    if bounded is not None and bounded.peak_memory_bytes is not None:
        mib = bounded.peak_memory_bytes / MIB
        yield Verdict(f"{BOUNDED.name}: batches within 512 MiB", mib, " MiB", mib <= 512)


def _faster(
    found: dict[tuple[str, str], Measurement], scenario: Scenario, factor: float
) -> Verdict:
    own = found.get((scenario.bucket, OWN))
    peers = [found[scenario.bucket, t].wall_s for t in PEERS if (scenario.bucket, t) in found]
    goal = f"{scenario.name}: {factor:g} x faster than the best peer"
    if own is None or not peers:
        return Verdict(goal, None, " x", False)
    ratio = min(peers) / own.wall_s
    return Verdict(goal, ratio, " x", ratio >= factor)


def disagreements(measurements: Iterable[Measurement]) -> list[str]:
    """Return a line for each tool that did not find the rows that there are."""
    return [
        f"{one.scenario.name}: {one.tool} found {one.rows} rows of {one.scenario.total_rows}"
        for one in measurements
        if one.status == "ok"
        and one.tool != "avroglob-resolve"
        and one.rows != one.scenario.total_rows
    ]


def as_json(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return everything, ready for `json.dumps`."""
    return {
        "environment": environment(PACKAGES),
        "measurements": [asdict(one) for one in measurements],
        "goals": [asdict(one) for one in verdicts(measurements)],
    }


def markdown(
    measurements: Sequence[Measurement], *, elapsed_s: float, command: str, pictures: Sequence[str]
) -> str:
    """Return the report: goals, pictures, then every figure."""
    about = ", ".join(f"{name} {value}" for name, value in environment(PACKAGES).items())
    goals = [
        [one.goal, "not measured" if one.value is None else f"{_figure(one.value)}{one.unit}", met]
        for one in verdicts(measurements)
        for met in ["" if one.value is None else "yes" if one.met else "no"]
    ]
    scenarios = dict.fromkeys(one.scenario for one in measurements)
    sections = [
        "# Reading Avro",
        f"Measured in one run of {elapsed_s:.0f} s of `{command}` against a "
        f"synthetic endpoint on the same machine ({about}). "
        "Each measurement has a process of its own, which has read one small "
        "file before; every tool ends with a pandas DataFrame if its name does not say otherwise. "
        "CPU is that of the tool's process, memory its peak above the idle process.",
        "## Goals",
        table(["goal", "measured", "met"], goals),
        *pictures,
        "## All figures",
        *(_section(one, measurements) for one in scenarios),
    ]
    return "\n\n".join(sections) + "\n"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _section(scenario: Scenario, measurements: Iterable[Measurement]) -> str:
    header = ["tool", "wall", "times ours", "CPU", "requests", "in flight", "memory", "table"]
    mine = [one for one in measurements if one.scenario == scenario]
    own = next((one for one in mine if one.tool == OWN and one.status == "ok"), None)
    rows = [_row(one, own) for one in mine]
    return f"### {scenario.name}\n\n{table(header, rows)}"


def _row(one: Measurement, own: Measurement | None) -> list[str]:
    if one.status == "failed":
        return [one.tool, f"failed: {one.error}", *[""] * 6]
    more = "> " if one.status == "timeout" else ""
    return [
        one.tool,
        more + seconds_text(one.wall_s),
        "" if own is None or one is own else f"{more}{one.wall_s / own.wall_s:.3g} x",
        f"{more}{one.cpu_s:.3g} s",
        f"{more}{one.requests:,.0f}",
        str(one.peak_in_flight),
        *(
            "" if size is None else f"{size / MIB:,.0f} MiB"
            for size in (one.peak_memory_bytes, one.table_bytes)
        ),
    ]
