"""What readers of Avro say of damaged files: an error, all rows, or fewer rows without a word.

Each reader reads each file in a process of its own, because some end the process or never return.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

ROWS = 5000
TIMEOUT_S = 60

_PACKAGES = {
    "fsspec-avroglob": "fsspec-avroglob",
    "fastavro": "fastavro",
    "polars-avro": "polars-avro",
    "polars": "polars",
    "DataFusion": "datafusion",
    "jetliner": "jetliner",
    "DuckDB": "duckdb",
}

Rows = list[tuple[int, str]]


# --- readers -------------------------------------------------------------------------------------


def _own(path: str) -> Rows:
    from fsspec_avroglob import read_avro_table

    return _of_columns(read_avro_table(path).to_pydict())


def _fastavro(path: str) -> Rows:
    import fastavro

    with open(path, "rb") as file:
        return [(row["id"], row["name"]) for row in fastavro.reader(file)]


def _polars_avro(path: str) -> Rows:
    import polars_avro

    return _of_columns(polars_avro.read_avro(path).to_dict(as_series=False))


def _polars(path: str) -> Rows:
    import polars

    return _of_columns(polars.read_avro(path).to_dict(as_series=False))


def _datafusion(path: str) -> Rows:
    import datafusion

    return _of_columns(datafusion.SessionContext().read_avro(path).to_pydict())


def _jetliner(path: str) -> Rows:
    import jetliner

    return _of_columns(jetliner.read_avro(path).to_dict(as_series=False))


def _duckdb(path: str) -> Rows:
    import duckdb

    connection = duckdb.connect()
    try:
        connection.execute("LOAD avro")
    except duckdb.Error:
        connection.execute("INSTALL avro; LOAD avro")
    return [tuple(row) for row in connection.execute(_DUCKDB, [path]).fetchall()]


_DUCKDB = "SELECT id, name FROM read_avro(?)"

READERS: Mapping[str, Callable[[str], Rows]] = {
    "fsspec-avroglob": _own,
    "fastavro": _fastavro,
    "polars-avro": _polars_avro,
    "polars": _polars,
    "DataFusion": _datafusion,
    "jetliner": _jetliner,
    "DuckDB": _duckdb,
}


def _of_columns(columns: Mapping[str, Sequence[Any]]) -> Rows:
    return list(zip(columns["id"], columns["name"], strict=True))


# --- damages -------------------------------------------------------------------------------------


class File(NamedTuple):
    """A sound file: its bytes, and for each block where it begins and where its data does."""

    data: bytes
    blocks: list[tuple[int, int]]

    def replaced(self, offset: int, data: bytes) -> bytes:
        """Return the bytes with some of them replaced."""
        return self.data[:offset] + data + self.data[offset + len(data) :]


def sound_rows() -> Rows:
    """Return the rows of the sound file."""
    return [(number, f"name-{number:06}") for number in range(ROWS)]


def sound_file(codec: str) -> File:
    """Return a file of about ten blocks."""
    import fastavro

    from fsspec_avroglob.avro.container import parse_header, walk_blocks

    schema = {
        "type": "record",
        "name": "Row",
        "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}],
    }
    out = io.BytesIO()
    rows = ({"id": number, "name": name} for number, name in sound_rows())
    fastavro.writer(out, schema, rows, codec, sync_interval=7000, sync_marker=bytes(range(16)))
    data = out.getvalue()
    header = parse_header(data)
    blocks = walk_blocks(data, header.sync_marker, start=header.size_bytes)
    return File(data, [(block.offset, block.data_offset) for block in blocks])


def _with_count(file: File, change: int) -> bytes:
    """Change the number of rows that the middle block claims."""
    from fsspec_avroglob.avro.container import block_at, encode_long, parse_header

    marker = parse_header(file.data).sync_marker
    start = file.blocks[len(file.blocks) // 2][0]
    block = block_at(file.data, start, marker)
    count = encode_long(block.value_count)
    return (
        file.data[:start]
        + encode_long(block.value_count + change)
        + file.data[start + len(count) :]
    )


def _middle(file: File) -> tuple[int, int]:
    return file.blocks[len(file.blocks) // 2]


DAMAGES: Mapping[str, tuple[str, Callable[[File], bytes]]] = {
    "none": ("snappy", lambda file: file.data),
    "truncated in a block": ("snappy", lambda file: file.data[: _middle(file)[1] + 100]),
    "truncated in a block, not compressed": (
        "null",
        lambda file: file.data[: _middle(file)[1] + 100],
    ),
    "truncated in a sync marker": ("snappy", lambda file: file.data[: _middle(file)[0] - 8]),
    "truncated between two blocks": ("snappy", lambda file: file.data[: _middle(file)[0]]),
    "a broken sync marker": (
        "snappy",
        lambda file: file.replaced(_middle(file)[0] - 4, b"\xff\xff\xff\xff"),
    ),
    "a flipped byte, snappy": (
        "snappy",
        lambda file: file.replaced(_middle(file)[1] + 50, b"\xff"),
    ),
    "a changed letter, not compressed": (
        "null",
        lambda file: file.replaced(file.data.index(b"name-", _middle(file)[1]), b"N"),
    ),
    "a block that claims 10 rows too few": ("snappy", lambda file: _with_count(file, -10)),
    "a block that claims 10 rows too many": ("snappy", lambda file: _with_count(file, 10)),
    "a header cut in the schema": ("snappy", lambda file: file.data[:60]),
    "zeros after the last block": ("snappy", lambda file: file.data + bytes(4096)),
    "no byte": ("snappy", lambda file: b""),
}
"""For each damage the codec of the file and what happens to it."""


# --- outcomes ------------------------------------------------------------------------------------


def outcome_of(reader: str, path: str) -> str:
    """Read a file and describe the result. Raises what the reader raises."""
    found, expected = READERS[reader](path), sound_rows()
    if found == expected:
        return "right rows"
    if len(found) == len(expected):
        return "**wrong values, silently**"
    return f"**{len(found):,} of {len(expected):,} rows, silently**"


def measured(reader: str, path: str) -> str:
    """Describe the result of :func:`outcome_of` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.damage", "--reader", reader, "--file", path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "**never returns**"
    if done.returncode:
        return "**ends the process**"
    return str(json.loads(done.stdout.splitlines()[-1]))


def _one(reader: str, path: str) -> int:
    try:
        outcome = outcome_of(reader, path)
    except ImportError:
        outcome = "not installed"
    except BaseException as error:  # panics of Rust are no Exception
        text = str(error)
        missing = reader == "DuckDB" and ("INSTALL" in text or "Failed to download" in text)
        kind = "error" if isinstance(error, Exception) else "**panic**"
        outcome = "not installable here" if missing else kind
    print(json.dumps(outcome))
    return 0


# --- the page ------------------------------------------------------------------------------------


def page(table: Mapping[str, Mapping[str, str]], command: str) -> str:
    """Return the page of a table by damage and reader, without readers that were not there."""
    readers = [r for r in READERS if not table["none"][r].startswith("not ")]
    absent = [r for r in READERS if r not in readers]
    lines = [
        "# Damaged files",
        "",
        f"Each reader reads a file of {ROWS:,} rows in ten blocks or more, damaged in one place. "
        "**Bold** is a loss without a word, or worse. Nobody can see a file that ends exactly "
        "between two blocks, as Avro counts no blocks, nor a changed value without a checksum: "
        "compare sizes or use a codec with a checksum (snappy, xz, bzip2).",
        "",
        f"Made by `{command}` ({', '.join(map(_version, readers))}).",
        "",
        f"| damage | {' | '.join(readers)} |",
        f"|---|{'---|' * len(readers)}",
        *(
            f"| {damage} | {' | '.join(outcomes[reader] for reader in readers)} |"
            for damage, outcomes in table.items()
        ),
        "",
    ]
    if absent:
        reasons = [f"{reader} ({table['none'][reader]})" for reader in absent]
        lines += [f"Left out: {', '.join(reasons)}.", ""]
    lines += [
        "To read what is left of such files, see [Corrupt files](../how-to/corrupt-files.md).",
        "",
    ]
    return "\n".join(lines)


def _version(reader: str) -> str:
    try:
        return f"{reader} {version(_PACKAGES[reader])}"
    except PackageNotFoundError:
        return reader


def main(arguments: list[str]) -> int:
    """Print the table, and write the page. Returns 1 if this package loses rows in silence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks damage", description=__doc__)
    parser.add_argument("--markdown", type=Path, help="write the page to this file")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.reader:
        return _one(options.reader, options.file)
    files = {codec: sound_file(codec) for codec in ("null", "snappy")}
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(2) as pool:
        cells = {}
        for number, (damage, (codec, inflict)) in enumerate(DAMAGES.items()):
            path = Path(directory, f"{number}.avro")
            path.write_bytes(inflict(files[codec]))
            cells[damage] = {r: pool.submit(measured, r, str(path)) for r in READERS}
        table = {d: {r: cell.result() for r, cell in row.items()} for d, row in cells.items()}
    command = "pip install '.[bench]' && python -m benchmarks damage --markdown " + str(
        options.markdown or "FILE"
    )
    text = page(table, command)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    own = {damage: row["fsspec-avroglob"] for damage, row in table.items()}
    return int(any("silently" in own[d] for d in own if d not in UNSEEN))


UNSEEN = {"truncated between two blocks", "a changed letter, not compressed"}
"""Damages that no reader can see."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
