"""One measurement: a tool reads Avro files as a table in this process and prints the figures.

`python -m benchmarks.avro_peers TOOL --url URL --bucket NAME` prints one JSON object. The process
reads one small file before the clock starts, so imports and clients are not measured. Every tool
returns a pandas DataFrame as its users would make one, unless its docstring says otherwise.
"""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.endpoint import KEY, REGION, SECRET, s3fs_options
from benchmarks.process import own_options, take, tool_command

WARM_UP = "warm-up"
"""The bucket with one small file."""

Read = Callable[[str], Any]


def _own(
    function: str, convert: Callable[[Any], Any] = lambda result: result, **more: Any
) -> Callable[[str], Read]:
    """Read with a function of this package, and convert its result."""

    def tool(url: str) -> Read:
        import fsspec_avroglob

        read, options = getattr(fsspec_avroglob, function), own_options(url)
        return lambda path: convert(read(f"s3://{path}", options, **more))

    return tool


def _count_rows(batches: Any) -> range:
    """Count the rows of batches without keeping them."""
    return range(sum(batch.num_rows for batch in batches))


def _resolve(url: str) -> Read:
    """Read only headers and schemas, with this package."""
    from fsspec_avroglob import ResolvedSources

    options = own_options(url)
    return lambda path: ResolvedSources.resolve(f"s3://{path}", options).paths


def jetliner(url: str) -> Read:
    """jetliner, with its own S3 client."""
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
    """polars-avro reads files that s3fs opens."""
    import polars_avro as library

    fs = _s3fs(url)
    return lambda path: library.read_avro([fs.open(one) for one in fs.glob(path)]).to_pandas()


def fastavro(url: str) -> Read:
    """Fastavro reads files that s3fs opens."""
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
    """Read from memory. The first call fetches the file; the median of the calls ignores it."""
    fs = _s3fs(url)
    known: dict[str, bytes] = {}

    def read_kept(path: str) -> Any:
        if path not in known:
            known[path] = fs.cat_file(*fs.glob(path))
        return read(known[path])

    return read_kept


def _own_memory(function: str, convert: Callable[[Any], Any]) -> Callable[[str], Read]:
    """Read bytes in memory with a function of this package, and convert its result."""

    def tool(url: str) -> Read:
        import fsspec

        import fsspec_avroglob

        read, memory = getattr(fsspec_avroglob, function), fsspec.filesystem("memory")

        def read_file(data: bytes) -> Any:
            memory.store.clear()
            memory.pipe_file("/file.avro", data)
            return convert(read("memory://file.avro"))

        return _kept(url, read_file)

    return tool


def polars_avro_memory(url: str) -> Read:
    """polars-avro reads bytes in memory and returns a polars frame."""
    import polars_avro as library

    return _kept(url, lambda data: library.read_avro(io.BytesIO(data)))


def fastavro_memory(url: str) -> Read:
    """Fastavro reads bytes in memory and returns a list of records."""
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
