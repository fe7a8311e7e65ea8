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
def test_the_header_is_what_the_writer_wrote(codec: str) -> None:
    data = user_file(100, codec=codec, metadata={"origin": "here"})

    parsed = parse_header(data)

    assert parsed.codec == codec
    assert parsed.schema == json.loads(parsed.schema_text)
    assert [f["name"] for f in parsed.schema["fields"]] == ["id", "name", "score"]
    assert parsed.metadata["origin"] == b"here"
    assert parsed.sync_marker == SYNC_MARKER


def test_the_first_block_starts_where_the_header_ends() -> None:
    data = user_file(100, block_bytes=500)
    first = next(iter(fastavro.block_reader(io.BytesIO(data))))

    start = parse_header(data).size_bytes
    block = claimed_block(data, start)

    assert start == first.offset
    assert block.value_count == first.num_records
    end = block.data_offset + block.size_bytes
    assert data[end : end + 16] == SYNC_MARKER
    assert end + 16 - start == first.size


def test_blocks_follow_one_another_to_the_end_of_the_file() -> None:
    data = user_file(1000, block_bytes=1000)
    offset, values = parse_header(data).size_bytes, 0

    while offset < len(data):
        block = claimed_block(data, offset)
        values += block.value_count
        offset = block.end

    assert offset == len(data)
    assert values == 1000


def test_a_header_without_codec_means_null() -> None:
    assert parse_header(header(codec=None)).codec == "null"


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("map_blocks", [[3], [1, 2], [1, 1, 1]])
def test_metadata_may_have_several_blocks(map_blocks: list[int], sized: bool) -> None:
    parsed = parse_header(header(extra={"k": b"\xff"}, map_blocks=map_blocks, sized=sized))

    assert dict(parsed.metadata) == {
        "avro.schema": b'"int"',
        "avro.codec": b"null",
        "k": b"\xff",
    }


def test_an_incomplete_header_asks_for_more_bytes_within_it() -> None:
    whole = header(USER_SCHEMA, sized=True)

    for length in range(len(whole)):
        with pytest.raises(NeedMoreBytes) as caught:
            parse_header(whole[:length])
        assert length < caught.value.size_bytes <= len(whole)
    assert parse_header(whole + b"more").size_bytes == len(whole)


def test_a_long_header_needs_one_more_read() -> None:
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
def test_other_formats_are_refused_by_their_first_bytes(data: bytes) -> None:
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
def test_an_impossible_header_is_refused_at_once(metadata: bytes, message: str) -> None:
    with pytest.raises(NotAvroError, match=message):
        parse_header(b"Obj\x01" + metadata)


def test_a_schema_that_is_not_json_is_an_error_on_access() -> None:
    data = b"Obj\x01" + encode_long(1) + encode_bytes(b"avro.schema") + encode_bytes(b"{nope")

    parsed = parse_header(data + encode_long(0) + SYNC_MARKER)

    assert parsed.schema_text == "{nope"
    with pytest.raises(NotAvroError, match="JSON"):
        _ = parsed.schema


@pytest.mark.parametrize(("count", "size"), [(-1, 10), (10, -1)])
def test_a_block_of_negative_count_or_size_is_refused(count: int, size: int) -> None:
    with pytest.raises(CorruptBlockError, match="cannot have"):
        claimed_block(encode_long(count) + encode_long(size))


def test_a_block_header_cut_short_asks_for_more_bytes() -> None:
    data = encode_long(1000) + encode_long(100_000)

    for length in range(len(data)):
        with pytest.raises(NeedMoreBytes) as caught:
            claimed_block(data[:length])
        assert length < caught.value.size_bytes <= len(data)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(max_size=5))
def test_block_headers_of_any_size_are_read_back(count: int, size: int, before: bytes) -> None:
    data = before + encode_long(count) + encode_long(size)

    block = claimed_block(data, len(before))
    assert block == (len(before), count, size, len(data), len(data) + size + 16)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_header_or_a_clear_error(data: bytes) -> None:
    try:
        needed = parse_header(b"Obj\x01" + data).size_bytes
    except NotAvroError:
        return
    except NeedMoreBytes as more:
        needed = more.size_bytes

    assert 0 < needed <= MAX_HEADER_BYTES
