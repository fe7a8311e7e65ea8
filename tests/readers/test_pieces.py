"""Pieces of a table, read on their own, are the table."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.avro.stream import Dropped
from fsspec_avroglob.errors import AvroDecodeError
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.pieces import Piece, layout_of, pieces, read_piece
from fsspec_avroglob.readers.read import iter_avro_batches, read_avro_table
from fsspec_avroglob.readers.sources import ResolvedSources, SourceFile
from tests.conftest import PutObjects
from tests.support.avro_data import SYNC_MARKER, avro_file, record_schema, user_file
from tests.support.proxy import FaultProxy


def read_all(found: list[Piece], resolved: ResolvedSources) -> pa.Table:
    layout = layout_of(resolved, ReadOptions(include_file_paths="file"))
    return pa.concat_tables(read_piece(piece, layout) for piece in found)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Small files, one that is larger, one without blocks, one with sync markers in its data."""
    directory = tmp_path_factory.mktemp("files")
    for n, rows in enumerate([5, 5, 300, 0, 7]):
        (directory / f"y={n}").mkdir()
        content = user_file(rows, 1000 * n, block_bytes=64)
        (directory / f"y={n}" / "x.avro").write_bytes(content)
    return f"{directory}/y=*/x.avro"


@settings(max_examples=15)
@given(blocksize=st.integers(40, 20_000) | st.none())
def test_pieces_have_each_row_once(files: str, blocksize: int | None) -> None:
    resolved = ResolvedSources.resolve(files)
    found = pickle.loads(pickle.dumps(pieces(resolved, blocksize)))

    assert read_all(found, resolved) == read_avro_table(files, include_file_paths="file")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocksize=st.integers(20, 400))
def test_markers_in_data_do_no_harm(tmp_path: Path, blocksize: int) -> None:
    schema = record_schema({"raw": "bytes"})
    rows = [{"raw": SYNC_MARKER * (n % 3) + bytes([n])} for n in range(40)]
    path = tmp_path / "x.avro"
    path.write_bytes(avro_file(rows, schema, block_bytes=50))
    resolved = ResolvedSources.resolve(path)
    layout = layout_of(resolved, ReadOptions())

    for ignore_errors in (False, True):
        errors: list[Dropped] = []
        options = ReadOptions(ignore_errors=ignore_errors)
        found = [
            read_piece(piece, layout, options=options, errors=errors)
            for piece in pieces(resolved, blocksize)
        ]
        assert pa.concat_tables(found).to_pylist() == rows
        assert not errors


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2000), change=st.integers(1, 255), blocksize=st.integers(20, 900))
def test_damage_costs_pieces_no_more(
    tmp_path: Path, place: int, change: int, blocksize: int
) -> None:
    schema = record_schema({"raw": "bytes"})
    rows = [{"raw": SYNC_MARKER * (n % 3) + bytes([n])} for n in range(40)]
    content = bytearray(avro_file(rows, schema, block_bytes=50))
    blocks_at = parse_header(bytes(content)).size_bytes
    content[blocks_at + place % (len(content) - blocks_at)] ^= change
    path = tmp_path / "x.avro"
    path.write_bytes(content)
    resolved = ResolvedSources.resolve(path)
    layout = layout_of(resolved, ReadOptions())
    errors: list[Dropped] = []

    found = [
        read_piece(piece, layout, options=ReadOptions(ignore_errors=True), errors=errors)
        for piece in pieces(resolved, blocksize)
    ]

    with iter_avro_batches(path, ignore_errors=True) as whole:
        assert pa.concat_tables(found).to_pylist() == pa.Table.from_batches(whole).to_pylist()
        assert errors == whole.errors


def test_files_group_and_divide(files: str) -> None:
    resolved = ResolvedSources.resolve(files)
    found = pieces(resolved, 1000)

    names = [{Path(span.file.path).parent.name for span in piece.spans} for piece in found]
    assert names[0] == {"y=0", "y=1"}
    assert names[-1] == {"y=3", "y=4"}
    assert len(found) > 5
    assert all(piece.size_bytes <= 1000 for piece in found)
    assert len(pieces(resolved, None)) == 5
    with pytest.raises(ValueError, match="blocksize is 0 bytes"):
        pieces(resolved, 0)


def sized_files(*sizes: int) -> ResolvedSources:
    """Files of these sizes in bytes; only their headers are known."""
    header = parse_header(user_file(1))
    files = tuple(
        SourceFile(f"{n}.avro", header, header.size_bytes + size, None)
        for n, size in enumerate(sizes)
    )
    return ResolvedSources(files, header.schema, (None,) * len(files), ({},) * len(files))


@pytest.mark.parametrize(
    ("sizes", "readers", "pieces_of_bytes"),
    [
        ([4] * 8, 4, [8, 8, 8, 8]),
        ([4] * 9, 4, [8, 8, 12, 8]),
        ([60, 1, 1, 1, 1], 4, [15, 15, 15, 15, 4]),
        ([32], 2, [16, 16]),
        ([1, 16, 23], 4, [1, 8, 8, 11, 11]),
        ([1] * 10, 100, [5, 5]),
        ([3], 100, [3]),
        ([64] * 3, 2, [64, 64, 64]),
    ],
)
def test_few_bytes_divide_evenly(
    sizes: list[int], readers: int, pieces_of_bytes: list[int]
) -> None:
    resolved = sized_files(*(size << 20 for size in sizes))

    found = pieces(resolved, readers=readers)

    assert [piece.size_bytes >> 20 for piece in found] == pieces_of_bytes


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 100 << 20), max_size=30),
    readers=st.integers(1, 40),
    blocksize=st.integers(1 << 20, 64 << 20),
)
def test_each_byte_is_in_one_piece(sizes: list[int], readers: int, blocksize: int) -> None:
    found = pieces(sized_files(*sizes), blocksize, readers)

    at = {f"{n}.avro": 0 for n in range(len(sizes))}
    spans = [span for piece in found for span in piece.spans]
    for span in spans:
        at[span.file.path] += Piece((span,)).size_bytes
    assert list(at.values()) == sizes
    assert list(dict.fromkeys(span.file.path for span in spans)) == list(at)
    assert all(piece.size_bytes <= blocksize for piece in found)


def test_piece_costs_only_its_bytes(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({"x.avro": user_file(20_000)})
    options = {**proxy.storage_options, "skip_instance_cache": True}
    resolved = ResolvedSources.resolve(f"s3://{bucket}/x.avro", options)
    layout = layout_of(resolved, ReadOptions(columns=["id"]))
    found = pieces(resolved, 100_000)
    proxy.clear()

    table = pa.concat_tables(read_piece(piece, layout, options) for piece in found)

    assert table["id"].to_pylist() == list(range(20_000))
    assert len(pickle.dumps(found)) < 20_000
    assert {request.operation for request in proxy.requests} == {"GetObject"}
    assert proxy.count() <= 2 * len(found)


def test_row_numbers_are_unsupported(files: str) -> None:
    with pytest.raises(ValueError, match="row_index_name"):
        layout_of(ResolvedSources.resolve(files), ReadOptions(row_index_name="row"))


@pytest.mark.parametrize("blocksize", [300, 1000, None])
def test_damage_is_error_or_reported(tmp_path: Path, blocksize: int | None) -> None:
    content = bytearray(user_file(300, block_bytes=64))
    place = content.index(SYNC_MARKER, parse_header(bytes(content)).size_bytes + 3000)
    content[place + 3] ^= 0xFF
    (tmp_path / "x.avro").write_bytes(content)
    resolved = ResolvedSources.resolve(tmp_path / "x.avro")
    layout = layout_of(resolved, ReadOptions())
    found = pieces(resolved, blocksize)

    with pytest.raises(AvroDecodeError, match=r"x\.avro"):
        read_all(found, resolved)
    errors: list[object] = []
    ids = [
        row
        for piece in found
        for row in read_piece(
            piece, layout, options=ReadOptions(ignore_errors=True), errors=errors
        )["id"].to_pylist()
    ]

    assert errors
    assert ids == sorted(set(ids))
    assert 285 <= len(ids) < 300
