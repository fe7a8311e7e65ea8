"""Fails where the core installation brings more than it needs, or does not do what it promises.

That is: to read, write and open Avro files without pyarrow, and to say of everything else which
extra it needs.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import distribution, distributions
from pathlib import Path
from typing import Any

import fastavro
import fsspec

import fsspec_avroglob

# After the installation, so that its benchmarks are found and its package is not.
sys.path.append(str(Path(__file__).parents[1]))
from benchmarks.endpoint import SyntheticEndpoint

NAMED = {"fsspec", "s3fs", "fastavro", "cramjam", "zstandard", "backports-zstd"}
# What a new environment holds.
GIVEN = {"fsspec-avroglob", "pip", "setuptools"}

CODECS = ("null", "deflate", "snappy", "bzip2", "xz", "zstandard")
SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}],
}
ROWS = [{"id": number, "name": None if number % 3 else str(number)} for number in range(1000)]


def normal(name: str) -> str:
    """A distribution's name as all of its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(name: str) -> set[str]:
    """Names of what a distribution asks for whatever extras are chosen."""
    requirements = distribution(name).requires or []
    names = (re.match(r"[\w.-]+", item) for item in requirements if "extra ==" not in item)
    return {normal(match[0]) for match in names if match}


def check_distributions() -> None:
    """Nothing is installed that the core does not need."""
    asked = required("fsspec-avroglob")
    installed = {normal(item.metadata["Name"]) for item in distributions()}
    belonging, new = set(GIVEN), NAMED & installed
    while new:
        belonging |= new
        new = {name for item in new for name in required(item)} & installed - belonging
    strange = sorted((asked - NAMED) | (installed - belonging))
    assert not strange, f"installed, but not for fsspec, s3fs or fastavro: {strange}"


def check_local_files(directory: str) -> None:
    """Records are written and read, whatever the codec."""
    for codec in CODECS:
        pattern = f"{directory}/{codec}-*.avro"
        written = fsspec_avroglob.write_avro(iter(ROWS), pattern, SCHEMA, codec, 400)
        assert len(written) == 3
        assert fsspec_avroglob.expand_path(pattern) == written
        with open(written[0], "rb") as file:
            assert list(fastavro.reader(file)) == ROWS[:400]
        assert list(fsspec_avroglob.iter_avro_records(pattern)) == ROWS
    everything = f"{directory}/*.avro"
    resolved = fsspec_avroglob.ResolvedSources.resolve(everything)
    assert len(resolved.paths) == 3 * len(CODECS)
    assert fsspec_avroglob.read_avro_schema(resolved.paths) == resolved.schema == SCHEMA
    names = fsspec_avroglob.iter_avro_records(everything, columns=["name"], n_rows=1500)
    assert list(names) == [{"name": row["name"]} for row in [*ROWS, *ROWS[:500]]]
    target = f"{directory}/async/x.avro"
    Path(target).parent.mkdir()
    asyncio.run(fsspec_avroglob.write_avro_async(ROWS, target, SCHEMA))
    assert list(fsspec_avroglob.iter_avro_records(target)) == ROWS
    assert asyncio.run(_ids(everything)) == [row["id"] for row in ROWS] * len(CODECS)


async def _ids(pattern: str) -> list[int]:
    assert await fsspec_avroglob.read_avro_schema_async(pattern) == SCHEMA
    return [row["id"] async for row in fsspec_avroglob.aiter_avro_records(pattern)]


def check_glob_as_a_file() -> None:
    """A glob is one file for fastavro, and several for this package."""
    bucket = "counters:3@avro:rows=100,codec=snappy,fields=4"
    with SyntheticEndpoint({"lake": bucket}) as endpoint:
        url, options = "avroglob://lake/data/*.avro", endpoint.storage_options
        with fsspec.open(url, **options) as file:
            joined = list(fastavro.reader(file))
        assert len(joined) == 300
        assert list(fsspec_avroglob.iter_avro_records(url, options)) == joined


def check_errors(directory: str) -> None:
    """What needs an extra names it."""
    file = f"{directory}/null-00000.avro"

    def module(name: str) -> Callable[[], Any]:
        return lambda: importlib.import_module(f"fsspec_avroglob.{name}")

    uses: list[tuple[str, Callable[[], Any]]] = [
        ("fsspec-avroglob[pandas]", lambda: fsspec_avroglob.read_avro(file)),
        ("fsspec-avroglob[pandas]", lambda: asyncio.run(fsspec_avroglob.read_avro_async(file))),
        ("fsspec-avroglob[arrow]", lambda: fsspec_avroglob.read_avro_table(file)),
        (
            "fsspec-avroglob[arrow]",
            lambda: asyncio.run(fsspec_avroglob.read_avro_table_async(file)),
        ),
        ("fsspec-avroglob[arrow]", lambda: fsspec_avroglob.iter_avro_batches(file)),
        ("fsspec-avroglob[arrow]", lambda: fsspec_avroglob.aiter_avro_batches(file)),
        ("fsspec-avroglob[arrow]", lambda: fsspec_avroglob.write_avro(ROWS, f"{directory}/x.avro")),
        ("fsspec-avroglob[polars]", lambda: fsspec_avroglob.scan_avro(file)),
        (
            "fsspec-avroglob[progress]",
            lambda: list(fsspec_avroglob.iter_avro_records(file, progress=True)),
        ),
        ("fsspec-avroglob[dask]", module("dask")),
        ("ray[data]", module("ray")),
        ("fsspec-avroglob[upath]", module("upath")),
    ]
    for needed, use in uses:
        assert f"pip install '{needed}'" in missing(use)


def missing(use: Callable[[], Any]) -> str:
    """What an ImportError says, or that there was none."""
    try:
        use()
    except ImportError as error:
        return str(error)
    return "nothing is missed"


def main() -> None:
    """Check everything; raise AssertionError for what does not hold."""
    check_distributions()
    with tempfile.TemporaryDirectory() as directory:
        check_local_files(directory)
        check_errors(directory)
    check_glob_as_a_file()
    absent = {"numpy", "pandas", "polars", "pyarrow"} & sys.modules.keys()
    assert not absent, f"imported, though not of the core: {absent}"


if __name__ == "__main__":
    main()
