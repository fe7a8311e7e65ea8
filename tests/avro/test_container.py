"""Container and block headers are parsed, or refused if they are not Avro."""

from __future__ import annotations

import io
import json

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.avro.container import (
    MAX_HEADER_BYTES,
    NeedMoreBytes,
    claimed_block,
    encode_long,
    parse_header,
)
from fsspec_avroglob.errors import CorruptBlockError, NotAvroError
from tests.support.avro_data import (
    SYNC_MARKER,
    USER_SCHEMA,
    encode_bytes,
    header,
    user_file,
)


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard"])
def test_header_equals_what_was_written(codec: str) -> None:
    data = user_file(100, codec=codec, metadata={"origin": "here"})

    parsed = parse_header(data)

    assert parsed.codec == codec
    assert parsed.schema == json.loads(parsed.schema_text)
    assert [f["name"] for f in parsed.schema["fields"]] == ["id", "name", "score"]
    assert parsed.metadata["origin"] == b"here"
    assert parsed.sync_marker == SYNC_MARKER


def test_first_block_follows_header() -> None:
    data = user_file(100, block_bytes=500)
    first = next(iter(fastavro.block_reader(io.BytesIO(data))))

    start = parse_header(data).size_bytes
    block = claimed_block(data, start)

    assert start == first.offset
    assert block.value_count == first.num_records
    end = block.data_offset + block.size_bytes
    assert data[end : end + 16] == SYNC_MARKER
    assert end + 16 - start == first.size


def test_blocks_reach_end_of_file() -> None:
    data = user_file(1000, block_bytes=1000)
    offset, values = parse_header(data).size_bytes, 0

    while offset < len(data):
        block = claimed_block(data, offset)
        values += block.value_count
        offset = block.end

    assert offset == len(data)
    assert values == 1000


def test_missing_codec_means_null() -> None:
    assert parse_header(header(codec=None)).codec == "null"


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("map_blocks", [[3], [1, 2], [1, 1, 1]])
def test_metadata_may_span_blocks(map_blocks: list[int], sized: bool) -> None:
    parsed = parse_header(header(extra={"k": b"\xff"}, map_blocks=map_blocks, sized=sized))

    assert dict(parsed.metadata) == {
        "avro.schema": b'"int"',
        "avro.codec": b"null",
        "k": b"\xff",
    }


def test_cut_header_asks_for_more() -> None:
    whole = header(USER_SCHEMA, sized=True)

    for length in range(len(whole)):
        with pytest.raises(NeedMoreBytes) as caught:
            parse_header(whole[:length])
        assert length < caught.value.size_bytes <= len(whole)
    assert parse_header(whole + b"more").size_bytes == len(whole)


def test_long_header_takes_two_reads() -> None:
    whole = header({"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(50_000)]})
    length, steps = 100, 0

    while True:
        try:
            parse_header(whole[:length])
            break
        except NeedMoreBytes as more:
            length, steps = more.size_bytes + 100, steps + 1

    assert steps == 1


@pytest.mark.parametrize(
    "data",
    [b"PAR1", b"Obj\x02", b"{", b"Ob[", b"\x1f\x8b\x08\x00", b"id,name\n1,x\n"],
    ids=["parquet", "version 2", "json", "short", "gzip", "csv"],
)
def test_other_formats_are_refused(data: bytes) -> None:
    with pytest.raises(NotAvroError, match="starts with"):
        parse_header(data)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (encode_long(1) + encode_long(-5), "entry of -5 bytes"),
        (encode_long(1) + encode_long(1 << 40), "more than"),
        (encode_long(1 << 40), "metadata entries"),
        (b"\xff" * 9 + b"\x7f", "longer than 64 bits"),
        (b"\xff" * 11, "longer than 64 bits"),
        (encode_long(1) + encode_bytes(b"\xff") + encode_bytes(b""), "not UTF-8"),
        (encode_long(0) + SYNC_MARKER, "no avro.schema"),
    ],
    ids=[
        "negative length",
        "absurd length",
        "absurd count",
        "65 bits",
        "endless number",
        "key in no encoding",
        "no schema",
    ],
)
def test_impossible_header_is_refused(metadata: bytes, message: str) -> None:
    with pytest.raises(NotAvroError, match=message):
        parse_header(b"Obj\x01" + metadata)


def test_invalid_json_schema_is_error() -> None:
    data = b"Obj\x01" + encode_long(1) + encode_bytes(b"avro.schema") + encode_bytes(b"{nope")

    parsed = parse_header(data + encode_long(0) + SYNC_MARKER)

    assert parsed.schema_text == "{nope"
    with pytest.raises(NotAvroError, match="JSON"):
        _ = parsed.schema


@pytest.mark.parametrize(("count", "size"), [(-1, 10), (10, -1)])
def test_negative_sizes_are_refused(count: int, size: int) -> None:
    with pytest.raises(CorruptBlockError, match="cannot have"):
        claimed_block(encode_long(count) + encode_long(size))


def test_cut_block_header_asks_for_more() -> None:
    data = encode_long(1000) + encode_long(100_000)

    for length in range(len(data)):
        with pytest.raises(NeedMoreBytes) as caught:
            claimed_block(data[:length])
        assert length < caught.value.size_bytes <= len(data)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(max_size=5))
def test_block_headers_round_trip(count: int, size: int, before: bytes) -> None:
    data = before + encode_long(count) + encode_long(size)

    block = claimed_block(data, len(before))
    assert block == (len(before), count, size, len(data), len(data) + size + 16)


@given(st.binary(max_size=300))
def test_any_bytes_are_header_or_error(data: bytes) -> None:
    try:
        needed = parse_header(b"Obj\x01" + data).size_bytes
    except NotAvroError:
        return
    except NeedMoreBytes as more:
        needed = more.size_bytes

    assert 0 < needed <= MAX_HEADER_BYTES
