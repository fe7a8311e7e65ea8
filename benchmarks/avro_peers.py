"""One measurement: a tool reads Avro files as a table, in this process, and prints the figures.

`python -m benchmarks.avro_peers TOOL --url URL --bucket NAME` prints one JSON object. The process
reads one small file before the clock starts, so imports and clients are not measured. Every tool
ends with a pandas DataFrame, the way its users get one, unless its docstring says otherwise.
"""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.process import KEY, REGION, SECRET, own_options, s3fs_options, take, tool_command

WARM_UP = "warm-up"
"""A bucket with one small file."""

Read = Callable[[str], Any]


def _own(
    function: str, convert: Callable[[Any], Any] = lambda result: result, **more: Any
) -> Callable[[str], Read]:
    """A function of this package that takes a URL and storage options."""

    def tool(url: str) -> Read:
        import fsspec_avroglob

        read, options = getattr(fsspec_avroglob, function), own_options(url)
        return lambda path: convert(read(f"s3://{path}", options, **more))

    return tool


def _count_rows(batches: Any) -> range:
    """Count and drop batches."""
    return range(sum(batch.num_rows for batch in batches))


def _resolve(url: str) -> Read:
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
    """Read from memory: the first reading fetches the file, and medians leave it out."""
    fs = _s3fs(url)
    known: dict[str, bytes] = {}

    def read_kept(path: str) -> Any:
        if path not in known:
            known[path] = fs.cat_file(*fs.glob(path))
        return read(known[path])

    return read_kept


def _kept_as_file(url: str, read: Callable[[str], Any]) -> Read:
    """As `_kept`, for functions that read a URL."""
    import fsspec

    memory = fsspec.filesystem("memory")

    def read_file(data: bytes) -> Any:
        memory.store.clear()
        memory.pipe_file("/file.avro", data)
        return read("memory://file.avro")

    return _kept(url, read_file)


def _own_memory(function: str, convert: Callable[[Any], Any]) -> Callable[[str], Read]:
    """A function of this package over bytes in memory."""

    def tool(url: str) -> Read:
        import fsspec_avroglob

        return _kept_as_file(url, lambda path: convert(getattr(fsspec_avroglob, function)(path)))

    return tool


def polars_avro_memory(url: str) -> Read:
    """polars-avro over bytes in memory, alone."""
    import polars_avro as library

    return _kept(url, lambda data: library.read_avro(io.BytesIO(data)))


def fastavro_memory(url: str) -> Read:
    """Fastavro over bytes in memory, alone."""
    import fastavro as library

    return _kept(url, lambda data: list(library.reader(io.BytesIO(data))))


TOOLS: dict[str, Callable[[str], Read]] = {
    "avroglob": _own("read_avro"),
    "avroglob-table": _own("read_avro_table"),
    "avroglob-fastavro": _own("read_avro", engine="fastavro"),
    "avroglob-batches": _own("iter_avro_batches", _count_rows),
    "avroglob-resolve": _resolve,
    "avroglob-memory": _own_memory("read_avro_table", lambda table: table),
    "avroglob-memory-records": _own_memory("iter_avro_records", list),
    "polars-avro-memory": polars_avro_memory,
    "fastavro-memory": fastavro_memory,
    "polars-avro": polars_avro,
    "jetliner": jetliner,
    "fastavro": fastavro,
    "dask": dask,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool in this process."""
    options = tool_command("benchmarks.avro_peers", TOOLS).parse_args(arguments)
    read = TOOLS[options.tool](options.url)
    read(f"{WARM_UP}/data/*.avro")
    table, figures = take(lambda: read(f"{options.bucket}/data/*.avro"), options)
    figures["found"] = len(table)
    if hasattr(table, "memory_usage"):
        figures["table_bytes"] = int(table.memory_usage(deep=False).sum())
    else:
        figures["table_bytes"] = getattr(table, "nbytes", None)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
