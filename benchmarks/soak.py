"""`python -m benchmarks soak --minutes N`: globs and reads against faults, in real time.

The fault proxy answers 10 % of all requests with 503, cuts 5 % of the bodies at a random byte and
drops 1 % of the connections. Each round globs a bucket, reads its objects, and compares all names
and bytes. Exits with 1 if more requests failed than chance explains, a result was wrong, a request
was repeated more often than the policy allows, or a task or connection leaked. With `--throttle 4`
or `--throttle 500/s` the server has this limit instead, with SlowDown and Retry-After.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.endpoint import SyntheticEndpoint
from fsspec_avroglob import AvroGlobFileSystem
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

MAX_RETRIES = 5
SHARES = {"fail": 0.10, "cut": 0.05, "drop": 0.01}
_BUCKET = "soak"
_CLOSING_S = 10.0


@dataclass
class Report:
    """The result of a soak.

    expected_failures: mean number of operations that fail max_retries + 1 times by chance. wrong:
    results that differed. beyond_policy: requests repeated more often than the policy allows.
    leaked_tasks, leaked_connections: open after the last round.
    """

    rounds: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    checked_bytes: int = 0
    failures: list[str] = field(default_factory=list)
    expected_failures: float = 0.0
    wrong: list[str] = field(default_factory=list)
    beyond_policy: int = 0
    leaked_tasks: int = 0
    leaked_connections: int = 0
    elapsed_s: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, and no more requests failed than chance explains."""
        bad = self.wrong or self.beyond_policy or self.leaked_tasks or self.leaked_connections
        allowed = self.expected_failures + 3 * self.expected_failures**0.5
        return not bad and len(self.failures) <= allowed


def soak(
    endpoint: Endpoint,
    objects: Mapping[str, bytes],
    expected: Sequence[str],
    pattern: str,
    more: Callable[[Report], bool],
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    wait: Callable[[float], Any] = asyncio.sleep,
    code: str = "SlowDown",
    shares: Mapping[str, float] = SHARES,
    throttle: Mapping[str, Any] | None = None,
) -> Report:
    """Glob *pattern* and read *objects* round by round, while ``more(report)``.

    objects: content by path. expected: the paths that the glob must find. wait: waits before a
    retry, in seconds. code: of the 503s; SlowDown makes the request window pause, in real time.
    shares: of the requests that have each fault. throttle: arguments of the proxy's `throttle`, for
    limits instead of faults.
    """
    report, began = Report(), time.monotonic()
    with FaultProxy(endpoint) as proxy:
        fs = AvroGlobFileSystem(
            **{**proxy.storage_options, "max_retries": MAX_RETRIES, **(options or {})},
            skip_instance_cache=True,
        )
        fs._sleep = wait
        while more(report):
            proxy.clear()
            if throttle is None:
                _set_faults(proxy, seed + report.rounds, code, shares)
            else:
                proxy.throttle(**throttle)
            try:
                _round(fs, objects, expected, pattern, report)
            except Exception as error:
                report.failures.append(repr(error))
            _count(proxy, fs, report, shares if throttle is None else {})
        proxy.clear()
        report.leaked_tasks = len(asyncio.all_tasks(fs.loop))
        fs.close_session(fs.loop, fs._s3creator)
        report.leaked_connections = proxy.wait_for_connections(_CLOSING_S)
    report.elapsed_s = time.monotonic() - began
    return report


def _set_faults(proxy: FaultProxy, seed: int, code: str, shares: Mapping[str, float]) -> None:
    proxy.seed = seed
    proxy.fail(code=code, share=shares["fail"])
    proxy.cut(after=None, share=shares["cut"])
    proxy.drop(share=shares["drop"])


def _round(
    fs: AvroGlobFileSystem,
    objects: Mapping[str, bytes],
    expected: Sequence[str],
    pattern: str,
    report: Report,
) -> None:
    fs.invalidate_cache()
    found = fs.glob(pattern)
    if found != list(expected):
        report.wrong.append(f"round {report.rounds}: {pattern} found {len(found)} paths")
    paths = list(objects)
    half = len(paths) // 2
    contents = fs.cat(paths[:half]) if half else {}
    for path in paths[half:]:
        with fs.open(path) as file:
            contents[path] = file.read()
    for path, content in contents.items():
        report.checked_bytes += len(content)
        if content != objects[path]:
            report.wrong.append(f"round {report.rounds}: {path} read as {len(content)} bytes")


def _count(
    proxy: FaultProxy, fs: AvroGlobFileSystem, report: Report, shares: Mapping[str, float]
) -> None:
    repeats = proxy.repeats
    report.rounds += 1
    report.requests.update(request.operation for request in proxy.requests)
    report.retries = Counter(fs.stats.retries)
    report.beyond_policy += sum(max(0, n - MAX_RETRIES - 1) for n in repeats.values())
    fails = 1.0
    for share in shares.values():
        fails *= 1 - share
    report.expected_failures += len(repeats) * (1 - fails) ** (MAX_RETRIES + 1)


# --- the command ----------------------------------------------------------------------------------


@contextmanager
def _synthetic(number: int, page_size: int) -> Iterator[tuple[Endpoint, dict[str, bytes], str]]:
    """Yield an endpoint with 2,000 pages of keys, objects of it to read, and a pattern for all."""
    names = [f"d{i % 20:02}/part-{i:06}.avro" for i in range(page_size * 2_000)]
    with SyntheticEndpoint({_BUCKET: names}) as server:
        server.configure(page_size=page_size)
        endpoint = Endpoint(server.url, "benchmarks", "benchmarks")
        straight = AvroGlobFileSystem(**endpoint.storage_options, skip_instance_cache=True)
        chosen = [f"{_BUCKET}/{name}" for name in names[:: len(names) // number]][:number]
        yield endpoint, straight.cat(chosen), f"{_BUCKET}/d*/part-*.avro"


def _limit(text: str) -> dict[str, Any]:
    number, slash, unit = text.partition("/")
    if slash and unit != "s":
        raise ValueError("a rate is written N/s")
    limit = {"rate": float(number)} if slash else {"in_flight": int(number)}
    return {**limit, "retry_after_s": 1}


def main(arguments: Sequence[str]) -> int:
    """Run the soak and print its report as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--objects", type=int, default=200, help="read in each round")
    parser.add_argument(
        "--page-size", type=int, default=10, help="entries of a page; a round lists 2,000"
    )
    parser.add_argument("--seed", type=int, default=0)
    limits = "instead of the faults: SlowDown beyond N requests at once, or N a second"
    parser.add_argument("--throttle", metavar="N[/s]", type=_limit, help=limits)
    options = parser.parse_args(arguments)
    with _synthetic(options.objects, options.page_size) as (endpoint, objects, pattern):
        straight = AvroGlobFileSystem(**endpoint.storage_options, skip_instance_cache=True)
        expected, end = straight.glob(pattern), time.monotonic() + 60 * options.minutes
        run = {"seed": options.seed, "throttle": options.throttle}
        in_time = lambda _: time.monotonic() < end  # noqa: E731
        report = soak(endpoint, objects, expected, pattern, in_time, **run)
    print(json.dumps({**vars(report), "sound": report.sound}, indent=2))
    return 0 if report.sound else 1
