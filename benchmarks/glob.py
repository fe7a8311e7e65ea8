"""`python -m benchmarks glob s3://bucket/PATTERN`: a glob on your own bucket, here and in s3fs.

Both list the bucket, so every run costs requests. Credentials, region and endpoint come from where
the AWS CLI finds them.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from s3fs import S3FileSystem

from benchmarks.report import seconds_text, table
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.pattern import GlobPattern


async def measure(fs: Any, patterns: Sequence[str], repeat: int, timeout_s: float) -> list[Any]:
    """Return the paths (None: cut off), the requests, and wall and CPU seconds of the fastest run.

    A run that is cut off is the last one.
    """
    sent: Counter[str] = Counter()
    session = await fs.set_session()

    def count(request: Any, event_name: str, **_: Any) -> None:
        sent[event_name.rpartition(".")[2]] += 1

    session.meta.events.register("before-send.s3", count)
    runs = []
    try:
        for _ in range(repeat):
            fs.invalidate_cache()
            sent.clear()
            wall, cpu = time.perf_counter(), time.process_time()
            paths: set[str] | None = set()
            try:
                async with asyncio.timeout(timeout_s):
                    paths = {path for one in patterns for path in await fs._glob(one)}
            except TimeoutError:
                paths = None
            took = time.perf_counter() - wall, time.process_time() - cpu
            runs.append([paths, sent.total(), *took])
            if paths is None:
                return runs[-1]
    finally:
        await session.close()
    return min(runs, key=lambda run: float(run[2]))


def main(arguments: Sequence[str]) -> int:
    """Print a table; return 1 if the two find different paths, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks glob", description=__doc__)
    parser.add_argument("pattern")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="of one run")
    parser.add_argument("--endpoint-url", help="default: AWS")
    options = parser.parse_args(arguments)
    shared = {"asynchronous": True, "skip_instance_cache": True}
    shared |= {"endpoint_url": options.endpoint_url} if options.endpoint_url else {}
    pattern = options.pattern.partition("://")[2]
    asked = (
        ("avroglob", AvroGlobFileSystem(**shared), [pattern]),
        ("s3fs", S3FileSystem(**shared), GlobPattern.parse(pattern).brace_free),
    )
    rows, found = [], []
    for name, fs, patterns in asked:
        run = asyncio.run(measure(fs, patterns, options.repeat, options.timeout))
        paths, requests, wall_s, cpu_s = run
        found.append(paths)
        matches = "cut off" if paths is None else f"{len(paths):,}"
        rows.append([name, matches, f"{requests:,}", seconds_text(wall_s), seconds_text(cpu_s)])
    print(table(["tool", "matches", "requests", "wall", "CPU"], rows))
    if None not in found and found[0] != found[1]:
        print("the two found different paths; please report this", file=sys.stderr)
        return 1
    return 0
