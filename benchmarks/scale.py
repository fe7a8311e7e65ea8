"""`python -m benchmarks scale`: the cost of globs on a hundred thousand to a billion keys.

The planner and the lister run unchanged, on generated keys, without a network and without waiting:
a round of requests that are in flight together counts as one latency. Writes
`docs/performance/scale.md`.
"""

import argparse
import asyncio
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.keyspace import Keyspace, MadeKeys
from benchmarks.report import table
from fsspec_avroglob.glob.lister import Found, Lister
from fsspec_avroglob.glob.pattern import GlobPattern
from fsspec_avroglob.glob.plan import ListingPlan
from fsspec_avroglob.readers.name_order import order_of
from fsspec_avroglob.s3.page import Page, page_from_response

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance" / "scale.md"
SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)
RUN_SIZES = (10**4, 10**5, 10**6, 10**7)
CONCURRENCY = 64
LATENCY_S = 0.03
LIST_DOLLARS = 0.005 / 1000
GET_DOLLARS = 0.0004 / 1000
FILE_BYTES = 1 << 20
LINK_BYTES_PER_S = 100e6
SIMULATED_PAGES = 2000
"""Of larger buckets, the pages of patterns that need every page are counted, not made."""

PATTERNS = {
    "one directory": "events/year=2024/month=03/day=07/hour=12/*.avro",
    "one day": "events/year=2024/month=03/day=07/*/*.avro",
    "one hour of every day of a month": "events/year=2024/month=03/day=*/hour=12/*.avro",
    "one part of every hour": "events/**/part-00000.avro",
    "everything": "events/**/*.avro",
}


class Events(MadeKeys):
    """The keys of a Hive tree of hours, ten years long."""

    YEARS, MONTHS, DAYS, HOURS = range(2016, 2026), range(1, 13), range(1, 29), range(24)
    DIRECTORIES = len(YEARS) * len(MONTHS) * len(DAYS) * len(HOURS)

    def __init__(self, keys: int) -> None:
        """Make about this number of keys, equally many in each hour."""
        self.parts = max(1, round(keys / self.DIRECTORIES))
        super().__init__(self.DIRECTORIES * self.parts, self._key)

    def _key(self, number: int) -> str:
        number, part = divmod(number, self.parts)
        number, hour = divmod(number, len(self.HOURS))
        number, day = divmod(number, len(self.DAYS))
        year, month = divmod(number, len(self.MONTHS))
        return (
            f"events/year={self.YEARS[year]}/month={self.MONTHS[month]:02}/"
            f"day={self.DAYS[day]:02}/hour={hour:02}/part-{part:05}.avro"
        )


class Rounds:
    """Answers LIST requests from a keyspace; requests that wait together are one round."""

    def __init__(self, space: Keyspace) -> None:
        """Count from zero."""
        self.requests = self.rounds = 0
        self._space = space
        self._waiting: list[asyncio.Future[None]] = []

    async def fetch(
        self, prefix: str, *, delimiter: str, start_after: str | None, token: str | None
    ) -> Page:
        """One page, at the end of the round."""
        self.requests += 1
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn
        listing = self._space.page(prefix, delimiter, token or start_after or "")
        return page_from_response(
            {
                "Contents": [{"Key": key, "Size": FILE_BYTES} for key in listing.keys],
                "CommonPrefixes": [{"Prefix": name} for name in listing.prefixes],
                "IsTruncated": listing.truncated,
                "NextContinuationToken": listing.next_marker,
            }
        )

    async def drive(self, job: asyncio.Task[None]) -> None:
        """End round after round until the job is done."""
        while not job.done():
            for _ in range(20):  # lets every task that can run send its next request
                await asyncio.sleep(0)
            if self._waiting:
                self.rounds += 1
                waiting, self._waiting = self._waiting, []
                for turn in waiting:
                    turn.set_result(None)
        await job


class Cost(NamedTuple):
    """The cost of a glob.

    rounds: latencies in sequence. name_bytes: size of the list of paths. exact: whether every
    request was simulated.
    """

    matches: int
    requests: int
    rounds: int
    name_bytes: int
    exact: bool = True


def cost(pattern: str, keys: int) -> Cost:
    """Glob *pattern* over about `keys` keys."""
    events = Events(keys)
    pages = len(events) // 1000
    if "**" in pattern and pages > SIMULATED_PAGES:
        return _extrapolated(pattern, events)
    return asyncio.run(_simulated(pattern, events))


async def _simulated(pattern: str, keys: Sequence[str], after: str | None = None) -> Cost:
    [plan] = ListingPlan.for_pattern(GlobPattern.parse(f"bucket/{pattern}"))
    server = Rounds(Keyspace(keys))
    matches = name_bytes = 0

    async def emit(found: Found) -> None:
        nonlocal matches, name_bytes
        if found.page is not None:
            indices = range(len(found.page.keys)) if found.indices is None else found.indices
            matches += len(indices)
            # A list's slot and a str of ASCII: 8 and 49 bytes on top of the characters.
            name_bytes += sum(57 + 7 + len(found.page.keys[index]) for index in indices)

    plan.after = after
    job = asyncio.create_task(Lister(plan, server.fetch, emit, CONCURRENCY).run())
    await server.drive(job)
    return Cost(matches, server.requests, server.rounds, name_bytes)


class Days(MadeKeys):
    """The keys of a table of days, with 1,000 files each."""

    PATTERN, FILES = "events/day=*/*.avro", 1_000

    def __init__(self, keys: int) -> None:
        """Make this number of keys."""
        super().__init__(keys, self._key)

    def _key(self, number: int) -> str:
        day, part = divmod(number, self.FILES)
        return f"events/day={dt.date(2000, 1, 1) + dt.timedelta(day)}/part-{part:05}.avro"


def incremental_cost(keys: int) -> Cost:
    """List what a run of an incremental glob lists over `keys` keys, with `late="2d"`."""
    days = Days(keys)
    order = order_of(days[-1])
    assert order is not None
    newest = dt.datetime(2000, 1, 1) + dt.timedelta(keys // Days.FILES - 1)
    return asyncio.run(_simulated(days.PATTERN, days, order.first(newest - dt.timedelta(3))))


def _extrapolated(pattern: str, events: Events) -> Cost:
    """Scale up a smaller bucket, for patterns that need every page."""
    small_keys = SIMULATED_PAGES * 500
    small, scale = cost(pattern, small_keys), len(events) / len(Events(small_keys))
    every = pattern.endswith("*.avro")
    matches = len(events) if every else Events.DIRECTORIES
    return Cost(
        matches,
        round(small.requests * scale),
        max(round(small.requests * scale / CONCURRENCY), small.rounds),
        round(small.name_bytes * matches / small.matches),
        exact=False,
    )


_INTRODUCTION = f"""# Scale

The cost of a glob as buckets grow. `python -m benchmarks scale` writes this page: the planner and
the lister run unchanged, on generated keys and without a network.

The keys are `{Events(1)[0]}` and so on: ten years of
{Events.DIRECTORIES:,} hourly directories, with equally many keys in each.

- LIST: the number of requests. It is exact, except after `≈`: there, the pattern needs every page,
  and the figures of a smaller bucket are scaled up.
- Money: S3's list price in us-east-1, $0.005 for 1,000 LIST requests.
- Time: the network's only, {LATENCY_S * 1000:.0f} ms for each round of at most
  {CONCURRENCY} requests in flight. For the client's time per key see
  [Listing](listing.md).
- Memory: the list of paths that `glob` returns. `iglob` holds a few pages, for any number of
  matches.
"""

_RUNS = f"""## A run of an incremental glob

`{Days.PATTERN}`, {Days.FILES:,} files a day. A run lists the days that `late="2d"` allows, and one
more ([new files](../how-to/new-files.md)).
"""

_READING = f"""## Reading the files

Reading the files of one day costs this on top of the glob. Each file has {FILE_BYTES >> 20} MiB
and takes at most two GET requests, one for its header and one for the rest. 1,000 GET requests cost
$0.0004. The link transfers {LINK_BYTES_PER_S / 1e6:.0f} MB/s.
"""


def _glob_row(keys: int, cost: Cost) -> list[str]:
    """One line about listing."""
    about = "" if cost.exact else "≈ "
    return [
        f"{keys:,}",
        f"{cost.matches:,}",
        f"{about}{cost.requests:,}",
        _dollars(cost.requests * LIST_DOLLARS),
        f"{about}{_seconds(cost.rounds * LATENCY_S)}",
        _size(cost.name_bytes),
    ]


def _read_row(files: int) -> list[str]:
    """One line about reading files."""
    requests, size = 2 * files, files * FILE_BYTES
    return [
        f"{files:,}",
        _size(size),
        f"{requests:,}",
        _dollars(requests * GET_DOLLARS),
        _seconds(max(size / LINK_BYTES_PER_S, requests / CONCURRENCY * LATENCY_S)),
    ]


def _run_row(keys: int, cost: Cost) -> list[str]:
    """One line about incremental runs."""
    return [f"{keys:,}", f"{cost.matches:,}", f"{cost.requests:,}", f"{-(-keys // 1000):,}"]


def _dollars(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 0.995 else f"${amount:.6f}".rstrip("0")


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 200_000 else f"{seconds / 86400:.0f} days"


def _size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.3g} TiB" if size_bytes < 1024 else f"{size_bytes / 1024:.3g} PiB"


def report(sizes: Sequence[int] = SIZES) -> str:
    """Return the page."""
    lines = [_INTRODUCTION]
    for name, pattern in PATTERNS.items():
        header = ["keys", "matches", "LIST", "money", "time", "memory"]
        rows = [_glob_row(keys, cost(pattern, keys)) for keys in sizes]
        lines += [f"## {name.capitalize()}\n\n`{pattern}`\n", table(header, rows, right=True), ""]
    header = ["keys", "files listed", "LIST", "LIST of all"]
    rows = [_run_row(keys, incremental_cost(keys)) for keys in RUN_SIZES]
    lines += [_RUNS, table(header, rows, right=True), ""]
    header = ["files", "bytes", "GET", "money", "time"]
    rows = [_read_row(cost(PATTERNS["one day"], keys).matches) for keys in sizes]
    return "\n".join([*lines, _READING, table(header, rows, right=True)]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--print", action="store_true", help="print the page, write nothing")
    options = parser.parse_args(arguments)
    if options.print:
        sys.stdout.write(report())
    else:
        PAGE.write_text(report(), encoding="utf-8")
    return 0
