"""UPath with `avroglob://` URLs: planned globs, pathlib's behaviour, few requests."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from upath import UPath
from upath.implementations.cloud import S3Path

from fsspec_avroglob import read_avro_table
from fsspec_avroglob.pattern import PatternError
from tests.conftest import PutObjects
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


def test_url_becomes_a_path_of_this_package_and_s3_stays_as_it_was() -> None:
    assert type(UPath("avroglob://bucket/key")).__name__ == "AvroGlobPath"
    assert type(UPath("s3://bucket/key")) is S3Path


def test_new_interpreter_finds_the_class_without_a_warning_and_without_importing_it_first() -> None:
    script = (
        "import sys\nfrom upath import UPath\n"
        "assert not any(name.startswith('fsspec_avroglob') for name in sys.modules)\n"
        "print(UPath('avroglob://bucket/a/b').parent)"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "avroglob://bucket/a\n"


def test_glob_finds_what_pathlib_finds(base: UPath, local: Path) -> None:
    for pattern in PATTERNS:
        # Before Python 3.13 pathlib lets "*/" match files.
        expected = [
            path
            for path in sorted(local.glob(pattern.rstrip("/")))
            if path.is_dir() or not pattern.endswith("/")
        ]
        assert relative(base.glob(pattern), base) == relative(expected, local), pattern


def test_rglob_finds_what_pathlib_finds(base: UPath, local: Path) -> None:
    expected = sorted(local.rglob("*.avro"))

    assert relative(base.rglob("*.avro"), base) == relative(expected, local)


def test_braces_work_in_globs(base: UPath) -> None:
    found = base.glob("year={2024/month=2,2025}/*.avro")

    assert relative(found, base) == ["year=2024/month=2/d.avro", "year=2025/e.avro"]


def test_recursive_glob_is_one_listing_and_its_paths_are_known(
    base: UPath, proxy: FaultProxy
) -> None:
    found = list(base.glob("**/*.avro"))

    assert [path.stat().st_size for path in found] == [2, 2, 2, 2]
    assert all(path.exists() and path.is_file() and not path.is_dir() for path in found)
    assert [request.operation for request in proxy.requests] == ["ListObjectsV2"]


def test_paths_read_after_a_glob_cost_a_get_each(base: UPath, proxy: FaultProxy) -> None:
    assert [path.read_bytes() for path in base.glob("*.avro")] == [b"12"]

    assert [request.operation for request in proxy.requests] == ["ListObjectsV2", "GetObject"]


def test_iterdir_is_one_listing_and_its_paths_are_known(
    base: UPath, local: Path, proxy: FaultProxy
) -> None:
    entries = {path.name: path.is_dir() for path in base.iterdir()}

    assert entries == {path.name: path.is_dir() for path in local.iterdir()}
    assert [request.operation for request in proxy.requests] == ["ListObjectsV2"]


def test_directory_object_is_no_entry_of_its_directory(base: UPath, put: PutObjects) -> None:
    put({"data/empty/": b"", "data/": b""})

    assert list((base / "empty").iterdir()) == []
    assert "empty" in [path.name for path in base.iterdir()]
    assert base not in list(base.iterdir())


@pytest.mark.parametrize("name", ["a.avro", "absent"])
def test_iterdir_of_no_directory_is_refused(base: UPath, name: str) -> None:
    with pytest.raises(NotADirectoryError, match=name):
        list((base / name).iterdir())


def test_empty_bucket_has_no_entries(proxy: FaultProxy, bucket: str) -> None:
    root = UPath(f"avroglob://{bucket}", **proxy.storage_options)

    assert list(root.iterdir()) == []
    assert list(root.glob("**/*")) == []


def test_walk_visits_what_pathlib_visits(base: UPath, local: Path) -> None:
    if not hasattr(local, "walk"):  # Python 3.11
        expected = {
            (p.name, tuple(sorted(c.name for c in p.iterdir()))) for p in directories(local)
        }
    else:
        expected = {(p.name, tuple(sorted(d + f))) for p, d, f in local.walk()}

    assert {(p.name, tuple(sorted(d + f))) for p, d, f in base.walk()} == expected


def directories(path: Path) -> list[Path]:
    return [path, *(child for child in path.rglob("*") if child.is_dir())]


def test_names_with_special_characters_are_taken_as_they_are(base: UPath, put: PutObjects) -> None:
    put({f"data/{name}/{name}.avro": name.encode() for name in SPECIAL})

    for name in SPECIAL:
        directory = base.joinpath(name)
        file = directory / f"{name}.avro"
        assert file.read_text() == name
        assert list(directory.glob("*.avro")) == [file]
        assert list(directory.iterdir()) == [file]


def test_pickled_path_is_equal_and_reads(base: UPath) -> None:
    copy = pickle.loads(pickle.dumps(base / "a.avro"))

    assert copy == base / "a.avro"
    assert hash(copy) == hash(base / "a.avro")
    assert copy.protocol == "avroglob"
    assert copy.read_bytes() == b"12"


def test_paths_derived_from_a_path_keep_protocol_and_options(base: UPath) -> None:
    found = next(base.glob("*.avro"))

    for path in (found, found.parent, found.with_suffix(".txt"), base / "x", base.joinpath("y/z")):
        assert path.protocol == "avroglob"
        assert path.storage_options == base.storage_options
    assert str(found) == f"{base}/a.avro"
    assert found.relative_to(base).parts == ("a.avro",)


def test_file_is_written_copied_and_removed(base: UPath) -> None:
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


def test_a_reader_that_is_given_a_path_says_what_it_takes() -> None:
    path = UPath("avroglob://bucket/a.avro", anon=True)
    for sources in (path, [path]):
        with pytest.raises(TypeError, match=r"str\(path\), and storage_options=path.storage_op"):
            read_avro_table(sources)
