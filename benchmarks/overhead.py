"""`python -m benchmarks overhead`: the CPU time of a request, and the retry layer's share of it."""

import argparse
import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from functools import partial

from benchmarks.endpoint import SyntheticEndpoint
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.requests import S3Request

BUCKET, KEY = "lake", "events/a.avro"
REPEATS = 5


async def cpu_s(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """Return CPU seconds of this process a call, of the best of some repeats."""
    best = float("inf")
    await call()
    for _ in range(REPEATS):
        gc.collect()
        start = time.process_time()
        for _ in range(calls):
            await call()
        best = min(best, (time.process_time() - start) / calls)
    return best


async def measure(endpoint: SyntheticEndpoint, calls: int) -> None:
    """Print a line for each kind of request."""
    fs = AvroGlobFileSystem(**endpoint.storage_options, asynchronous=True, skip_instance_cache=True)
    session = await fs.set_session()

    async def nothing() -> None:
        pass

    def described() -> Awaitable[object]:
        arguments = {"Bucket": BUCKET, "Key": KEY}
        return fs.requests.run(S3Request.of("head_object", arguments), nothing)

    layer_s = await cpu_s(described, 50 * calls) - await cpu_s(nothing, 50 * calls)
    page = partial(fs._fetch_page, BUCKET, "events/", delimiter="", start_after=None, token=None)
    kinds: dict[str, Callable[[], Awaitable[object]]] = {
        "HEAD": lambda: fs._call_s3("head_object", Bucket=BUCKET, Key=KEY),
        "GET, 100 bytes": lambda: fs._cat_file(f"{BUCKET}/{KEY}", start=0, end=100),
        "LIST, 1 key": page,
    }
    print(f"the layer alone: {layer_s * 1e6:.1f} µs a request")
    for name, call in kinds.items():
        took_s = await cpu_s(call, calls)
        share = layer_s / took_s
        print(f"{name:15} {took_s * 1e6:6.0f} µs of CPU, of which the layer {share:.1%}")
    await session.close()


def main(arguments: list[str]) -> int:
    """Run the benchmark; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks overhead", description=__doc__)
    parser.add_argument("--calls", type=int, default=300, help="requests of each kind and repeat")
    options = parser.parse_args(arguments)
    with SyntheticEndpoint({BUCKET: [KEY]}) as endpoint:
        asyncio.run(measure(endpoint, options.calls))
    return 0
