"""`python -m benchmarks bytes`: bytes moved with every tool, side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import report
from benchmarks.bytes_peers import TOOLS
from benchmarks.process import Measurement, measure
from benchmarks.report import MIB, OWN, Benchmark, Plot, Point, Verdict
from benchmarks.wire import WireServer

PACKAGES = ("fsspec-avroglob", "s3fs", "aiohttp", "obstore", "boto3", "pyarrow")
TIMEOUT_S = 120.0
LATENCY_S, RATE = 0.03, 80e6
KIB, GIB = 1 << 10, 1 << 30
ABOUT = (
    "{run} Each measurement has its own process, which has moved one byte before. Files are in "
    "memory. CPU and memory are those of the tool's process, memory its peak above the idle "
    "process. A slow server answers after 30 ms and sends 80 MB/s on each connection."
)


@dataclass(frozen=True)
class Scenario:
    """Objects of one size, moved by every tool, each in a process of its own.

    slow: whether the server has the latency and the rate that S3 has for each connection.
    """

    work: str
    size: int
    count: int
    https: bool = False
    slow: bool = False

    @property
    def title(self) -> str:
        """The work in words."""
        size = next(
            f"{self.size // unit} {name}"
            for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
            if self.size >= unit
        )
        server = ("https" if self.https else "http") + (", slow server" if self.slow else "")
        return f"{self.work}: {self.count:,} x {size}, {server}"

    @property
    def moved_bytes(self) -> int:
        """The bytes that the work moves; 0 where it does not depend on the size."""
        return 0 if self.work in ("rm", "open-random") else self.size * self.count


def scenarios(quick: bool) -> Iterator[Scenario]:
    """Yield what is measured; *quick* moves a tenth of the bytes."""
    large = GIB // 4 if quick else GIB
    for https in (False, True):
        yield Scenario("cat", KIB, 500 if quick else 3000, https)
        yield Scenario("cat", MIB, 50 if quick else 400, https)
        yield Scenario("cat", 8 * MIB, 25 if quick else 100, https)
        yield Scenario("get", large, 1, https)
        yield Scenario("put", large, 1, https)
    yield Scenario("cat", large, 1)
    yield Scenario("open-sequential", large, 1)
    yield Scenario("open-random", large, 1)
    yield Scenario("pipe", KIB, 200 if quick else 1000)
    yield Scenario("pipe", 8 * MIB, 10 if quick else 40)
    yield Scenario("rm", KIB, 200 if quick else 1000)
    for work in ("cat", "get", "open-sequential"):
        yield Scenario(work, large, 1, slow=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the page."""
    parser = report.command_line("bytes", __doc__ or "", quick="five minutes")
    options = report.parse(parser, arguments)
    measured = []
    with WireServer() as server:
        for one in scenarios(options.quick):
            if options.only not in one.title:
                continue
            server.configure(latency_s=LATENCY_S * one.slow, rate=RATE if one.slow else None)
            for tool in TOOLS:
                if (one.work, tool) == ("open-random", "boto3"):
                    continue  # its bodies cannot seek
                measured.append(report.show(_measure(server, one, tool, options.timeout)))
    return report.publish(options, benchmark(measured))


def _measure(server: WireServer, one: Scenario, tool: str, timeout_s: float | None) -> Measurement:
    where = [
        f"--url={server.url}",
        f"--bucket={one.work}",
        f"--endpoint={server.https_url if one.https else server.url}",
        f"--ca={server.ca_file}",
    ]
    what = [f"--work={one.work}", f"--size={one.size}", f"--count={one.count}"]
    return measure("benchmarks.bytes_peers", one, tool, where + what, timeout_s or TIMEOUT_S)


def benchmark(measured: Sequence[Measurement]) -> Benchmark:
    """Return the page's contents."""
    points = [
        Point(one.tool, one.scenario.title, one.scenario.moved_bytes / 1e6 / one.cpu_s)
        for one in measured
        if one.status == "ok" and one.scenario.moved_bytes and not one.scenario.slow and one.cpu_s
    ]
    names = {title: str(number) for number, title in enumerate({p.x: 0 for p in points}, 1)}
    numbered = [point._replace(x=names[str(point.x)]) for point in points]
    label = "; ".join(f"{number}: {title}" for title, number in names.items())
    return Benchmark(
        title="Bytes",
        about=ABOUT,
        packages=PACKAGES,
        measurements=measured,
        verdicts=list(_verdicts(measured)),
        plots=[Plot("bytes-by-work", "work", "MB per CPU second", numbered)],
        disagreements=list(_disagreements(measured)),
        summary=f"The numbers of the plot are: {label}." if label else "",
    )


def _disagreements(measured: Sequence[Measurement]) -> Iterator[str]:
    for one in measured:
        expected = one.scenario.moved_bytes
        if one.status == "ok" and expected and one.found != expected:
            yield f"{one.scenario.title}, {one.tool}: {one.found} bytes instead of {expected}"


def _verdicts(measured: Sequence[Measurement]) -> Iterator[Verdict]:
    found = {(one.scenario, one.tool): one for one in measured if one.status == "ok"}
    for one in dict.fromkeys(m.scenario for m in measured):
        own = found.get((one, OWN))
        if own is None:
            continue

        def times(peer: str, goal: float, one: Scenario = one, own: Measurement = own) -> Verdict:
            other = found.get((one, peer))
            text = f"{one.title}: CPU at most {goal:.3g} x {peer}'s"
            if other is None or not other.cpu_s:
                return Verdict(text, None, False)
            ratio = own.cpu_s / other.cpu_s
            return Verdict(text, f"{ratio:.2f} x", ratio <= goal)

        def memory(most: float, one: Scenario = one, own: Measurement = own) -> Verdict:
            peak = (own.peak_memory_bytes or 0) / MIB
            text = f"{one.title}: memory at most {most:.0f} MiB"
            return Verdict(text, f"{peak:.0f} MiB", peak <= most)

        if one.slow:
            speed = one.moved_bytes / own.wall_s / RATE
            text = f"{one.title}: at least 8 x the rate of a connection"
            yield Verdict(text, f"{speed:.1f} x", speed >= 8)
        elif one.size == KIB and one.work in ("cat", "pipe"):
            yield from (times("s3fs", 0.4), times("boto3", 1.0))
        elif one.work == "cat" and one.size == 8 * MIB:
            yield from (times("s3fs", 1.0), times("obstore", 1 / 0.75))
        elif one.work == "get":
            yield from (times("s3fs", 0.8), memory(64))
        elif one.work == "cat" and one.count == 1:
            yield memory(1.15 * one.size / MIB)
        elif one.work == "put":
            yield from (times("s3fs", 1 / 1.2), memory(256))
