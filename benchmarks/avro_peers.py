"""One measurement: a tool reads Avro files as a table, in this process, and prints the figures.

`python -m benchmarks.avro_peers TOOL --url URL --bucket NAME --pattern PATTERN` prints one JSON
object. One small file is read before the clock starts, so imports and clients are not measured.
Every tool ends with a pandas DataFrame, the way its users get one, if not said otherwise.
"""

import gc
import io
import json
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.process import KEY, REGION, SECRET, Run, own_options, s3fs_options, tool_command

WARM_UP = "warm-up"
"""A bucket with one small file."""

Read = Callable[[str], Any]


def avroglob(url: str) -> Read:
    """Read with this package."""
    import pandas  # noqa: F401

    from fsspec_avroglob import read_avro

    options = own_options(url)
    return lambda path: read_avro(f"s3://{path}", options)


def avroglob_fastavro(url: str) -> Read:
    """Read with this package, without polars-avro."""
    from fsspec_avroglob import read_avro

    options = own_options(url)
    return lambda path: read_avro(f"s3://{path}", options, engine="fastavro")


def avroglob_table(url: str) -> Read:
    """Read an Arrow table with this package."""
    from fsspec_avroglob import read_avro_table

    options = own_options(url)
    return lambda path: read_avro_table(f"s3://{path}", options)


def avroglob_batches(url: str) -> Read:
    """Count and drop the batches of this package."""
    from fsspec_avroglob import iter_avro_batches

    options = own_options(url)
    return lambda path: range(
        sum(batch.num_rows for batch in iter_avro_batches(f"s3://{path}", options))
    )


def avroglob_resolve(url: str) -> Read:
    """Resolve with this package: headers and schemas alone."""
    from fsspec_avroglob import ResolvedSources

    options = own_options(url)
    return lambda path: ResolvedSources.resolve(f"s3://{path}", options).paths


def jetliner(url: str) -> Read:
    """jetliner, which fetches by itself."""
    import jetliner as library

    options = {
        "endpoint": url,
        "aws_access_key_id": KEY,
        "aws_secret_access_key": SECRET,
        "region": REGION,
    }
    return lambda path: library.read_avro(f"s3://{path}", storage_options=options).to_pandas()


def _s3fs(url: str) -> Any:
    import s3fs

    return s3fs.S3FileSystem(**s3fs_options(url))


def polars_avro(url: str) -> Read:
    """polars-avro over files that s3fs opens."""
    import polars_avro as library

    fs = _s3fs(url)
    return lambda path: library.read_avro([fs.open(one) for one in fs.glob(path)]).to_pandas()


def fastavro(url: str) -> Read:
    """Fastavro over files that s3fs opens."""
    import fastavro as library
    import pandas

    fs = _s3fs(url)

    def read(path: str) -> Any:
        records: list[Any] = []
        for one in fs.glob(path):
            with fs.open(one) as file:
                records.extend(library.reader(file))
        return pandas.DataFrame.from_records(records)

    return read


def dask(url: str) -> Read:
    """dask.bag.read_avro."""
    import dask.bag
    import dask.config
    import pandas

    dask.config.set(scheduler="threads")
    options = s3fs_options(url)

    def read(path: str) -> Any:
        bag = dask.bag.read_avro(f"s3://{path}", storage_options=options)
        return pandas.DataFrame.from_records(bag.compute())

    return read


def _kept(url: str, read: Callable[[bytes], Any]) -> Read:
    """Read from memory: the first reading fetches, which medians leave out."""
    fs = _s3fs(url)
    known: dict[str, bytes] = {}

    def read_kept(path: str) -> Any:
        if path not in known:
            (file,) = fs.glob(path)
            known[path] = fs.cat_file(file)
        return read(known[path])

    return read_kept


def _kept_as_file(url: str, read: Callable[[str], Any]) -> Read:
    """As `_kept`, for what reads a URL."""
    import fsspec

    memory = fsspec.filesystem("memory")

    def read_file(data: bytes) -> Any:
        memory.store.clear()
        memory.pipe_file("/file.avro", data)
        return read("memory://file.avro")

    return _kept(url, read_file)


def avroglob_memory(url: str) -> Read:
    """Read an Arrow table from memory with this package."""
    from fsspec_avroglob import read_avro_table

    return _kept_as_file(url, read_avro_table)


def avroglob_memory_records(url: str) -> Read:
    """Read records from memory with this package, which fastavro decodes."""
    from fsspec_avroglob import iter_avro_records

    return _kept_as_file(url, lambda path: list(iter_avro_records(path)))


def polars_avro_memory(url: str) -> Read:
    """polars-avro over bytes in memory, alone."""
    import polars_avro as library

    return _kept(url, lambda data: library.read_avro(io.BytesIO(data)))


def fastavro_memory(url: str) -> Read:
    """Fastavro over bytes in memory, alone."""
    import fastavro as library

    return _kept(url, lambda data: list(library.reader(io.BytesIO(data))))


TOOLS: dict[str, Callable[[str], Read]] = {
    "avroglob": avroglob,
    "avroglob-table": avroglob_table,
    "avroglob-fastavro": avroglob_fastavro,
    "avroglob-batches": avroglob_batches,
    "avroglob-resolve": avroglob_resolve,
    "avroglob-memory": avroglob_memory,
    "avroglob-memory-records": avroglob_memory_records,
    "polars-avro-memory": polars_avro_memory,
    "fastavro-memory": fastavro_memory,
    "polars-avro": polars_avro,
    "jetliner": jetliner,
    "fastavro": fastavro,
    "dask": dask,
}


def measure(read: Read, url: str, path: str, repeat: int, timeout_s: float) -> dict[str, Any]:
    """Return the figures of `repeat` readings of `path`: medians of times, counts of the first.

    After `timeout_s` the figures up to then are printed instead, and the process ends.
    """
    read(f"{WARM_UP}/data/*.avro")
    gc.collect()
    run = Run(url, timeout_s)
    walls, cpus = [], []
    figures: dict[str, Any] = {}
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        result = read(path)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        figures = figures or run.figures("ok")
        rows = len(result)
        size = getattr(result, "memory_usage", None)
        figures["table_bytes"] = int(size(deep=False).sum()) if size else None
        if size is None:
            figures["table_bytes"] = getattr(result, "nbytes", None)
        del result
    run.end()
    return figures | {"wall_s": median(walls), "cpu_s": median(cpus), "rows": rows}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool in this process."""
    parser = tool_command("benchmarks.avro_peers", TOOLS)
    parser.add_argument("--pattern", default="data/*.avro")
    options = parser.parse_args(arguments)
    read = TOOLS[options.tool](options.url)
    path = f"{options.bucket}/{options.pattern}"
    print(json.dumps(measure(read, options.url, path, options.repeat, options.timeout)))


if __name__ == "__main__":
    main()
