"""Checks the core installation: nothing unneeded is installed, and everything promised works.

It must read, write and open Avro files without pyarrow. Everything else must name the extra that it
needs.
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

# Last, so that the benchmarks come from the checkout and the package from the installation.
sys.path.append(str(Path(__file__).parents[1]))
from benchmarks.endpoint import SyntheticEndpoint

NAMED = {"fsspec", "s3fs", "fastavro", "cramjam", "zstandard", "backports-zstd"}
# Distributions of a new environment, and this one.
GIVEN = {"fsspec-avroglob", "pip", "setuptools"}

CODECS = ("null", "deflate", "snappy", "bzip2", "xz", "zstandard")
SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}],
}
ROWS = [{"id": number, "name": None if number % 3 else str(number)} for number in range(1000)]


def normal(name: str) -> str:
    """The normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(name: str) -> set[str]:
    """Names of the distributions that *name* requires without extras."""
    requirements = distribution(name).requires or []
    names = (re.match(r"[\w.-]+", item) for item in requirements if "extra ==" not in item)
    return {normal(match[0]) for match in names if match}


def check_distributions() -> None:
    """Check that nothing is installed that the core does not need."""
    asked = required("fsspec-avroglob")
    installed = {normal(item.metadata["Name"]) for item in distributions()}
    belonging, new = set(GIVEN), NAMED & installed
    while new:
        belonging |= new
        new = {name for item in new for name in required(item)} & installed - belonging
    strange = sorted((asked - NAMED) | (installed - belonging))
    assert not strange, f"installed, but not needed by fsspec, s3fs or fastavro: {strange}"


def check_local_files(directory: str) -> None:
    """Check that records can be written and read with every codec."""
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
    """Check that fastavro reads a glob as one file, with the records of all files."""
    bucket = "counters:3@avro:rows=100,codec=snappy,fields=4"
    with SyntheticEndpoint({"lake": bucket}) as endpoint:
        url, options = "avroglob://lake/data/*.avro", endpoint.storage_options
        with fsspec.open(url, **options) as file:
            joined = list(fastavro.reader(file))
        assert len(joined) == 300
        assert list(fsspec_avroglob.iter_avro_records(url, options)) == joined


def check_errors(directory: str) -> None:
    """Check that whatever needs an extra names it."""
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
    """The message of the ImportError that *use* raises."""
    try:
        use()
    except ImportError as error:
        return str(error)
    return "no ImportError"


def main() -> None:
    """Run all checks; raise AssertionError for the first that fails."""
    check_distributions()
    with tempfile.TemporaryDirectory() as directory:
        check_local_files(directory)
        check_errors(directory)
    check_glob_as_a_file()
    absent = {"numpy", "pandas", "polars", "pyarrow"} & sys.modules.keys()
    assert not absent, f"imported, but not part of the core: {absent}"


if __name__ == "__main__":
    main()
