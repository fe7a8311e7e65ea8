"""A glob opens as one file for any reader in any library: Avro containers, what is refused."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import sys
from typing import TYPE_CHECKING, Any

import fastavro
import fsspec
import pandas
import polars
import polars_avro
import pytest

from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.errors import (
    CannotJoinError,
    CorruptBlockError,
    FilesDifferError,
    NotAvroError,
    SchemaMismatchError,
)
from tests.conftest import MakeFs, PutObjects
from tests.support.avro_data import (
    USER_SCHEMA,
    avro_file,
    block,
    header,
    record_schema,
    user_file,
    users,
)
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
A_MARKER, B_MARKER, C_MARKER = (bytes([letter]) * 16 for letter in b"ABC")


@pytest.fixture
def three(put: PutObjects) -> list[bytes]:
    """Three files of the same schema, each with its own sync marker."""
    files = [
        user_file(300, i * 300, block_bytes=500, sync_marker=marker, codec="deflate")
        for i, marker in enumerate([A_MARKER, B_MARKER, C_MARKER])
    ]
    put({f"day={i}/part-0.avro": file for i, file in enumerate(files)})
    return files


def joined(files: list[bytes]) -> bytes:
    """The slow twin: all files in memory, every block's marker exchanged by the chain of blocks."""
    first = parse_header(files[0])
    out = [files[0]]
    for file in files[1:]:
        for one in fastavro.block_reader(io.BytesIO(file)):
            out.append(file[one.offset : one.offset + one.size - 16] + first.sync_marker)
    return b"".join(out)


def test_avro_glob_is_one_file(fs: AvroGlobFileSystem, bucket: str, three: list[bytes]) -> None:
    with fs.open(f"{bucket}/day=*/part-*.avro") as file:
        assert list(fastavro.reader(file)) == users(900)

    with fs.open(f"{bucket}/day=*/part-*.avro") as file:
        assert file.read() == joined(three)


def test_ranges_in_any_order(fs: AvroGlobFileSystem, bucket: str, three: list[bytes]) -> None:
    whole = joined(three)
    places = random.Random(4)

    for _ in range(4):
        with fs.open(f"{bucket}/day=*/part-*.avro", cache_type="none") as file:
            assert file.size == len(whole)
            for _ in range(25):
                start = places.randrange(len(whole))
                length = places.choice([1, 7, 16, 40, 700, 5000])
                file.seek(start)
                assert file.read(length) == whole[start : start + length]


def test_open_costs_one_get_per_file(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, three: list[bytes]
) -> None:
    fs = make_fs(proxy.storage_options)

    file = fs.open(f"{bucket}/day=*/part-*.avro")

    assert file.size == len(joined(three))
    assert proxy.count("ListObjectsV2") <= 2
    assert proxy.count("GetObject") == 3
    assert proxy.count() == proxy.count("ListObjectsV2") + 3
    proxy.clear()
    assert list(fastavro.reader(file)) == users(900)
    assert proxy.count() == 3


def test_file_pickles_at_its_position(
    fs: AvroGlobFileSystem, bucket: str, three: list[bytes]
) -> None:
    file = fs.open(f"{bucket}/day=*/*.avro")
    file.seek(4000)

    copy = pickle.loads(pickle.dumps(file))

    assert (copy.tell(), copy.size) == (4000, file.size)
    assert copy.read() == joined(three)[4000:]
    file.close()
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_equal_markers_join_as_they_are(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"1.avro": user_file(10), "2.avro": user_file(10, 10)})

    with fs.open(f"{bucket}/*.avro") as file:
        assert list(fastavro.reader(file)) == users(20)


def test_empty_files_add_nothing(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    files = [user_file(0), user_file(5), user_file(0, sync_marker=B_MARKER)]
    put({f"{i}.avro": file for i, file in enumerate(files)})

    with fs.open(f"{bucket}/*.avro") as file:
        assert file.size == len(files[1])
        assert list(fastavro.reader(file)) == users(5)


def test_doubtful_range_is_settled(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    content = b"x" * 200 + B_MARKER + b"no block follows" * 20
    start = header("bytes")[:-16]
    second = start + B_MARKER + block(content, 1, B_MARKER) * 3
    put({"1.avro": start + A_MARKER, "2.avro": second})
    whole = start + A_MARKER + block(content, 1, A_MARKER) * 3

    with fs.open(f"{bucket}/*.avro", cache_type="none") as file:
        file.seek(len(start) + 16 + 900)
        assert file.read(300) == whole[file.tell() - 300 : file.tell()]
        file.seek(len(whole) - 700)
        assert file.read() == whole[-700:]


# --- what does not go together ---


def test_other_codec_is_named(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"1.avro": user_file(1), "2.avro": user_file(1), "3.avro": user_file(1, codec="deflate")})

    with pytest.raises(
        FilesDifferError, match=r"/3\.avro has the codec deflate.*/1\.avro has null"
    ):
        fs.open(f"{bucket}/*.avro")


def test_other_schema_is_named(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put(
        {
            "1.avro": avro_file([], record_schema({"a": "int", "b": "string"})),
            "2.avro": avro_file([], record_schema({"a": "int", "b": "bytes"})),
        }
    )

    with pytest.raises(SchemaMismatchError, match=r"/2\.avro .*field 'b' is bytes; it is string"):
        fs.open(f"{bucket}/*.avro")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (record_schema({"a": "int", "b": "int"}), record_schema({"b": "int", "a": "int"})),
        (["null", "int"], ["int", "null"]),
        (
            {"type": "array", "items": ["null", "int"]},
            {"type": "array", "items": ["int", "null"]},
        ),
    ],
    ids=["fields", "branches", "nested branches"],
)
def test_other_field_order_is_refused(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, one: Any, two: Any
) -> None:
    put({"1.avro": avro_file([], one), "2.avro": avro_file([], two)})

    with pytest.raises(FilesDifferError, match=r"not in the same order.*read_avro"):
        fs.open(f"{bucket}/*.avro")


def test_other_logical_type_is_refused(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    def decimal(scale: int) -> Any:
        return {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale}

    put(
        {
            "1.avro": avro_file([], record_schema({"a": decimal(2)})),
            "2.avro": avro_file([], record_schema({"a": decimal(3)})),
        }
    )

    with pytest.raises(SchemaMismatchError, match="field 'a'"):
        fs.open(f"{bucket}/*.avro")


def test_docs_and_format_do_not_matter(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    documented = {
        **USER_SCHEMA,
        "doc": "A user.",
        "fields": [{**field, "doc": "Yes."} for field in USER_SCHEMA["fields"]],
    }
    put({"1.avro": user_file(3), "2.avro": user_file(3, 3, schema=documented)})

    with fs.open(f"{bucket}/*.avro") as file:
        assert list(fastavro.reader(file)) == users(6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PAR1....", "is not an Avro file"),
        (user_file(1)[:50], "ends within its Avro header"),
    ],
)
def test_non_avro_file_is_named(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, content: bytes, message: str
) -> None:
    put({"1.avro": user_file(1), "2.avro": content})

    with pytest.raises(NotAvroError, match=rf"/2\.avro {message}"):
        fs.open(f"{bucket}/*.avro")


def test_corrupt_block_is_located(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    good = header("bytes")[:-16] + B_MARKER + block(b"first", 1, B_MARKER)
    put(
        {
            "1.avro": header("bytes"),
            "2.avro": good + block(b"second", 1, b"?" * 16) + block(b"third", 1, B_MARKER),
        }
    )

    file = fs.open(f"{bucket}/*.avro")
    with pytest.raises(CorruptBlockError, match=rf"/2\.avro: block 1 at byte {len(good)} is corru"):
        file.read()


def test_changed_object_is_noticed(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, three: list[bytes]
) -> None:
    file = fs.open(f"{bucket}/day=*/part-*.avro")
    put({"day=1/part-0.avro": three[2]})

    with pytest.raises(OSError, match=r"day=1/part-0\.avro"):
        file.read()


# --- which names are globs ---


def test_exact_name_is_preferred(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    names = ["a*.txt", "a[1].txt", "{x,y}.txt", "a**b"]
    put({"a1.txt": b"no", "x.txt": b"no", **{name: name.encode() for name in names}})

    for name in names:
        with fs.open(f"{bucket}/{name}") as file:
            assert file.read() == name.encode()


def test_no_match_names_the_pattern(fs: AvroGlobFileSystem, bucket: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\*such"):
        fs.open(f"{bucket}/no*such.avro")


def test_writes_take_names_literally(fs: AvroGlobFileSystem, bucket: str) -> None:
    with fs.open(f"{bucket}/a*.txt", "wb") as file:
        file.write(b"content")

    assert fs.find(bucket) == [f"{bucket}/a*.txt"]


# --- formats ---


@pytest.mark.parametrize(
    ("suffix", "instead"),
    [
        ("parquet", r"pandas\.read_parquet\(fs\.glob\(pattern\)"),
        ("json", "open the files one by one"),
        ("avro.gz", "open the files one by one"),
        ("parquet.gz", "read_parquet"),
    ],
)
def test_unjoinable_formats_advise(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, suffix: str, instead: str
) -> None:
    put({f"1.{suffix}": b"PAR1", f"2.{suffix}": b"PAR1"})

    with pytest.raises(CannotJoinError, match=instead):
        fs.open(f"{bucket}/*.{suffix}")


def test_single_match_may_be_anything(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"part-1.parquet": b"PAR1 and more"})

    with fs.open(f"{bucket}/*.parquet") as file:
        assert file.read() == b"PAR1 and more"


def test_mixed_formats_are_refused(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"1.csv": b"", "2.csv.gz": b""})

    with pytest.raises(CannotJoinError, match=r"2\.csv\.gz and .*1\.csv have different formats"):
        fs.open(f"{bucket}/*")


def test_magic_bytes_tell_avro(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"part-1": user_file(2), "part-2": user_file(2, 2)})

    with fs.open(f"{bucket}/part-*") as file:
        assert list(fastavro.reader(file)) == users(4)


# --- other libraries ---


def test_any_reader_takes_a_glob(
    endpoint: Endpoint, bucket: str, put: PutObjects, three: list[bytes]
) -> None:
    options = endpoint.storage_options
    put(
        {
            "1.csv": b"a,b\n1,x\n",
            "2.csv": b"a,b\n2,y\n",
            "1.csv.gz": gzip.compress(b"a,b\n1,x\n"),
            "2.csv.gz": gzip.compress(b"a,b\n2,y\n"),
            "1.jsonl": b'{"a":1}\n{"a":2}',
            "2.jsonl": b'{"a":3}',
            "1.jsonl.zst": zstd.compress(b'{"a":1}\n{"a":2}'),
            "2.jsonl.zst": zstd.compress(b'{"a":3}'),
        }
    )
    url = f"avroglob://{bucket}"

    for name in ("*.csv", "*.csv.gz"):
        frame = pandas.read_csv(f"{url}/{name}", storage_options=options)
        assert frame.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    for name in ("*.jsonl", "*.jsonl.zst"):
        frame = pandas.read_json(f"{url}/{name}", lines=True, storage_options=options)
        assert list(frame["a"]) == [1, 2, 3]
    with fsspec.open(f"{url}/day=*/*.avro", **options) as file:
        assert list(fastavro.reader(file)) == users(900)
    assert polars_avro.read_avro(f"{url}/day=*/*.avro", storage_options=options).height == 900
    # Polars's own CSV reader asks fsspec only where pyarrow does the parsing.
    frame = polars.read_csv(f"{url}/*.csv", storage_options=options, use_pyarrow=True)
    assert frame["a"].to_list() == [1, 2]
    with fsspec.open(f"{url}/*.csv", **options) as file:
        assert polars.read_csv(file)["b"].to_list() == ["x", "y"]
    with fsspec.open(f"{url}/*.csv.gz", "rt", compression="infer", **options) as text:
        assert text.read() == "a,b\n1,x\n2,y\n"
