"""UPath with `avroglob://` URLs: planned globs, pathlib's behaviour, few requests."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError
from upath import UPath
from upath.implementations.cloud import S3Path

from fsspec_avroglob import (
    ResolvedSources,
    expand_path,
    expand_paths_async,
    iter_avro_records,
    read_avro,
    read_avro_schema,
    read_avro_table,
    read_avro_table_async,
    scan_avro,
    write_avro,
)
from fsspec_avroglob.dask import read_avro as read_avro_on_dask
from fsspec_avroglob.dask import to_avro
from fsspec_avroglob.errors import PatternError
from tests.conftest import PutObjects
from tests.support.avro_data import user_file
from tests.support.proxy import FaultProxy

TREE = [
    "data/a.avro",
    "data/b.txt",
    "data/year=2024/month=1/c.avro",
    "data/year=2024/month=2/d.avro",
    "data/year=2025/e.avro",
]
SPECIAL = ["hash#1", "per%41cent", "a b+c&d", "q?", "br[a]ck", "{x,y}", "Łódź", "star*"]
# Patterns that mean the same to pathlib.
PATTERNS = [
    "*",
    "*.avro",
    "**/*.avro",
    "year=*/*.avro",
    "year=2024/**/*",
    "*/",
    "none*",
    "**/month=[12]",
]


def relative(paths: object, base: UPath) -> list[str]:
    assert hasattr(paths, "__iter__")
    return [str(path.relative_to(base)) for path in paths]


@pytest.fixture
def base(proxy: FaultProxy, bucket: str, put: PutObjects) -> UPath:
    put(dict.fromkeys(TREE, b"12"))
    return UPath(f"avroglob://{bucket}/data", **proxy.storage_options, skip_instance_cache=True)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    for key in TREE:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"12")
    return tmp_path / "data"


def test_s3_urls_keep_their_class() -> None:
    assert type(UPath("avroglob://bucket/key")).__name__ == "AvroGlobPath"
    assert type(UPath("s3://bucket/key")) is S3Path


def test_needs_no_import() -> None:
    script = (
        "import sys\nfrom upath import UPath\n"
        "assert not any(name.startswith('fsspec_avroglob') for name in sys.modules)\n"
        "print(UPath('avroglob://bucket/a/b').parent)"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "avroglob://bucket/a\n"


def test_glob_equals_pathlib(base: UPath, local: Path) -> None:
    for pattern in PATTERNS:
        # Before Python 3.13 pathlib lets "*/" match files.
        expected = [
            path
            for path in sorted(local.glob(pattern.rstrip("/")))
            if path.is_dir() or not pattern.endswith("/")
        ]
        assert relative(base.glob(pattern), base) == relative(expected, local), pattern


def test_rglob_equals_pathlib(base: UPath, local: Path) -> None:
    expected = sorted(local.rglob("*.avro"))

    assert relative(base.rglob("*.avro"), base) == relative(expected, local)


def test_braces_work_in_globs(base: UPath) -> None:
    found = base.glob("year={2024/month=2,2025}/*.avro")

    assert relative(found, base) == ["year=2024/month=2/d.avro", "year=2025/e.avro"]


def test_glob_paths_are_known(base: UPath, proxy: FaultProxy) -> None:
    found = list(base.glob("**/*.avro"))

    assert [path.stat().st_size for path in found] == [2, 2, 2, 2]
    assert all(path.exists() and path.is_file() and not path.is_dir() for path in found)
    assert [request.operation for request in proxy.requests] == ["ListObjectsV2"]


def test_read_after_glob_costs_one_get(base: UPath, proxy: FaultProxy) -> None:
    assert [path.read_bytes() for path in base.glob("*.avro")] == [b"12"]

    assert [request.operation for request in proxy.requests] == ["ListObjectsV2", "GetObject"]


def test_iterdir_paths_are_known(base: UPath, local: Path, proxy: FaultProxy) -> None:
    entries = {path.name: path.is_dir() for path in base.iterdir()}

    assert entries == {path.name: path.is_dir() for path in local.iterdir()}
    assert [request.operation for request in proxy.requests] == ["ListObjectsV2"]


def test_marker_is_no_entry(base: UPath, put: PutObjects) -> None:
    put({"data/empty/": b"", "data/": b""})

    assert list((base / "empty").iterdir()) == []
    assert "empty" in [path.name for path in base.iterdir()]
    assert base not in list(base.iterdir())


@pytest.mark.parametrize("name", ["a.avro", "absent"])
def test_iterdir_needs_a_directory(base: UPath, name: str) -> None:
    with pytest.raises(NotADirectoryError, match=name):
        list((base / name).iterdir())


def test_empty_bucket_has_none(proxy: FaultProxy, bucket: str) -> None:
    root = UPath(f"avroglob://{bucket}", **proxy.storage_options)

    assert list(root.iterdir()) == []
    assert list(root.glob("**/*")) == []


def test_walk_equals_pathlib(base: UPath, local: Path) -> None:
    if not hasattr(local, "walk"):  # Python 3.11
        expected = {
            (p.name, tuple(sorted(c.name for c in p.iterdir()))) for p in directories(local)
        }
    else:
        expected = {(p.name, tuple(sorted(d + f))) for p, d, f in local.walk()}

    assert {(p.name, tuple(sorted(d + f))) for p, d, f in base.walk()} == expected


def directories(path: Path) -> list[Path]:
    return [path, *(child for child in path.rglob("*") if child.is_dir())]


def test_special_characters_are_literal(base: UPath, put: PutObjects) -> None:
    put({f"data/{name}/{name}.avro": name.encode() for name in SPECIAL})

    for name in SPECIAL:
        directory = base.joinpath(name)
        file = directory / f"{name}.avro"
        assert file.read_text() == name
        assert list(directory.glob("*.avro")) == [file]
        assert list(directory.iterdir()) == [file]


def test_pickled_path_reads(base: UPath) -> None:
    copy = pickle.loads(pickle.dumps(base / "a.avro"))

    assert copy == base / "a.avro"
    assert hash(copy) == hash(base / "a.avro")
    assert copy.protocol == "avroglob"
    assert copy.read_bytes() == b"12"


def test_derived_paths_keep_options(base: UPath) -> None:
    found = next(base.glob("*.avro"))

    for path in (found, found.parent, found.with_suffix(".txt"), base / "x", base.joinpath("y/z")):
        assert path.protocol == "avroglob"
        assert path.storage_options == base.storage_options
    assert str(found) == f"{base}/a.avro"
    assert found.relative_to(base).parts == ("a.avro",)


def test_writes_copies_and_removes(base: UPath) -> None:
    path = base / "new" / "text.txt"
    path.write_text("Grüße")

    copy = path.copy(base / "copy.txt")
    path.unlink()

    assert copy.read_text() == "Grüße"
    assert not path.exists()


def test_invalid_pattern_is_refused(base: UPath) -> None:
    with pytest.raises(PatternError):
        list(base.glob("a**b"))
    with pytest.raises(NotImplementedError, match="not relative"):
        list(base.glob("/data/*"))
    with pytest.raises(NotImplementedError, match="case"):
        list(base.glob("*.AVRO", case_sensitive=False))


def test_chained_path_globs_too(proxy: FaultProxy, bucket: str, base: UPath) -> None:
    options = {"avroglob": dict(proxy.storage_options)}
    chained = UPath(f"simplecache::avroglob://{bucket}/data", **options)

    assert [path.read_bytes() for path in chained.glob("year=2025/*.avro")] == [b"12"]


# --- given to readers and writers ----------------------------------------------------------------


@pytest.fixture(params=["avroglob", "s3"])
def table(request: pytest.FixtureRequest, base: UPath, put: PutObjects, bucket: str) -> UPath:
    """A directory of three Avro files, as a path that knows the endpoint."""
    put({f"table/{number}.avro": user_file(4, 4 * number) for number in range(3)})
    return UPath(f"{request.param}://{bucket}/table", **base.storage_options)


def test_readers_take_paths(table: UPath) -> None:
    pattern, files = table / "*.avro", [table / f"{number}.avro" for number in range(3)]
    assert expand_path(pattern) == [str(file) for file in files]
    for sources in (pattern, files, [str(files[0]), *files[1:]]):
        assert read_avro_table(sources)["id"].to_pylist() == list(range(12))
    assert len(read_avro(pattern)) == 12
    assert [record["id"] for record in iter_avro_records(files)] == list(range(12))
    assert read_avro_schema(pattern) == read_avro_schema(files[1])
    assert scan_avro(pattern).select("id").collect()["id"].to_list() == list(range(12))
    assert list(read_avro_on_dask(pattern, blocksize=None)["id"].compute()) == list(range(12))


def test_sources_keep_options(table: UPath) -> None:
    resolved = ResolvedSources.resolve(table / "*.avro")
    assert read_avro_table(resolved).num_rows == 12
    assert list(read_avro_on_dask(resolved)["id"].compute()) == list(range(12))
    secret = table.storage_options["secret"]
    assert secret not in repr(resolved)
    # Options that are given to the reader count.
    nowhere = {**table.storage_options, "endpoint_url": "http://127.0.0.1:9", "max_retries": 0}
    with pytest.raises(EndpointConnectionError):
        read_avro_on_dask(resolved, storage_options=nowhere).compute()


async def test_async_readers_take_paths(table: UPath) -> None:
    pattern = table / "*.avro"
    assert len(await expand_paths_async([pattern])) == 3
    assert (await read_avro_table_async(pattern)).num_rows == 12
    assert (await ResolvedSources.resolve_async(pattern)).storage_options == table.storage_options


def test_writers_take_a_path(table: UPath) -> None:
    written = write_avro(
        [{"id": 1}],
        table / "new.avro",
        {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}]},
    )
    assert written == [f"{table}/new.avro"]
    assert read_avro_table(table / "new.avro")["id"].to_pylist() == [1]

    frame = read_avro_on_dask(table / "[0-2].avro", blocksize=None)
    names = to_avro(frame[["id"]], table / "copy" / "part-*.avro")
    assert names == [f"{table}/copy/part-{number:05}.avro" for number in range(3)]
    assert read_avro_table(table / "copy" / "*.avro").num_rows == 12


def test_path_options_win(table: UPath) -> None:
    given = {"endpoint_url": "http://127.0.0.1:9", "max_retries": 0}
    by_protocol = {table.protocol: given, "https": {"headers": {}}}
    for options in (given, by_protocol):
        assert read_avro_table(table / "0.avro", options).num_rows == 4


def test_conflicting_paths_are_refused(table: UPath) -> None:
    other = UPath(str(table / "1.avro"), **{**table.storage_options, "max_retries": 7})
    with pytest.raises(ValueError, match=r"1\.avro' has other storage options"):
        read_avro_table([table / "0.avro", other])
    chained = UPath("simplecache::s3://bucket/a.avro", s3={"anon": True})
    with pytest.raises(ValueError, match=r"give str\(path\), and storage_options by protocol"):
        read_avro_table(chained)


def test_a_path_in_memory_is_read() -> None:
    path = UPath("memory://test_upath/a.avro")
    path.write_bytes(user_file(3))
    try:
        assert read_avro_table(path).num_rows == 3
    finally:
        path.unlink()


def test_a_filesystem_is_no_path(base: UPath) -> None:
    with pytest.raises(TypeError, match="expected a path or a list of paths"):
        read_avro_table(base.fs)  # type: ignore[arg-type]
