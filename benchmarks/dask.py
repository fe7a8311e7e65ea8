"""`python -m benchmarks dask`: sums over Avro files on a Dask cluster, next to dask.bag's."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import report
from benchmarks.avro_peers import WARM_UP
from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.process import Measurement, measure
from benchmarks.report import Benchmark, Plot, Point, Verdict

OWN, PEER, REFERENCE = TOOLS = ("avroglob", "dask.bag", "pandas")
FILES = (4, 16, 64)
REQUEST_LATENCY_S = 0.03
TIMEOUT_S = 180.0
GOAL = 10
PACKAGES = ("fsspec-avroglob", "dask", "distributed", "pandas", "pyarrow", "fastavro", "s3fs")
_CONTENT = "codec=snappy,fields=6"
ABOUT = (
    "Each tool sums two columns grouped by a third, over files of 20,000 rows. The cluster has "
    "four processes with one thread each. "
    f"`{OWN}` is `fsspec_avroglob.dask.read_avro(...).groupby(...)`, `{PEER}` is "
    f"`dask.bag.read_avro(...).to_dataframe().groupby(...)`, `{REFERENCE}` is one process with "
    "fastavro and without Dask. All results are equal. {run} The endpoint takes "
    f"{REQUEST_LATENCY_S * 1000:g} ms a request. Clusters start and import what they need before "
    "the measurement. CPU and memory are those of the client process, without the cluster's."
)


@dataclass(frozen=True)
class Scenario:
    """A number of files."""

    files: int

    @property
    def title(self) -> str:
        """The number of files in words."""
        return f"{self.files} files"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a result differs from that of pandas, else 0."""
    about = "Group and add up generated Avro files on a Dask cluster."
    options = report.parse(report.command_line("dask", about, quick="a minute"), arguments)
    measurements: list[Measurement] = []
    scenarios = [Scenario(files) for files in (FILES[-1:] if options.quick else FILES)]
    buckets = {f"files-{n}": f"counters:{n}@avro:rows=20000,{_CONTENT}" for n in FILES}
    buckets[WARM_UP] = f"counters:1@avro:rows=10,{_CONTENT}"
    with SyntheticEndpoint(buckets) as endpoint:
        endpoint.configure(latency_s=REQUEST_LATENCY_S)
        for scenario in scenarios:
            if options.only not in scenario.title:
                continue
            for tool in TOOLS:
                asked = [f"--url={endpoint.url}", f"--bucket=files-{scenario.files}"]
                asked += ["--repeat=3"] if tool == OWN else []
                timeout_s = options.timeout or TIMEOUT_S
                one = measure("benchmarks.dask_peers", scenario, tool, asked, timeout_s)
                measurements.append(report.show(one))
    return report.publish(options, _benchmark(measurements))


def _benchmark(measurements: Sequence[Measurement]) -> Benchmark:
    right = {one.scenario: one.result for one in measurements if one.tool == REFERENCE}
    wrong = [
        f"{one.scenario.title}: {one.tool} has {one.result}, not {right[one.scenario]}"
        for one in measurements
        if one.status != "timeout" and (one.result is None or one.result != right[one.scenario])
    ]
    points = [Point(one.tool, one.scenario.files, one.wall_s) for one in measurements]
    plot = Plot("dask-wall-by-files", "files of 20,000 rows", "wall time, s", points)
    most = max(one.scenario.files for one in measurements)
    ended = [one for one in measurements if one.status == "ok" and one.scenario.files == most]
    wall_s = {one.tool: one.wall_s for one in ended}
    ratio = wall_s[PEER] / wall_s[OWN] if {OWN, PEER} <= wall_s.keys() else None
    goal = Verdict(
        f"{most} files: {GOAL} x faster than {PEER}",
        ratio and f"{ratio:.3g} x",
        ratio is not None and ratio >= GOAL,
    )
    return Benchmark("Dask", ABOUT, PACKAGES, measurements, [goal], [plot], wrong)
