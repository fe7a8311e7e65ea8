"""Names become files the same way wherever the files are."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.readers.expand import (
    expand_path,
    expand_path_async,
    expand_paths,
    expand_paths_async,
    expand_s3_glob,
    expand_s3_glob_async,
    parse_s3_glob_uri,
)
from fsspec_avroglob.readers.locate import filesystem_for, is_s3_uri
from fsspec_avroglob.readers.sources import ResolvedSources
from tests.conftest import PutObjects
from tests.support.avro_data import user_file
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

TREE = [
    "day=01/part-0.avro",
    "day=01/part-1.avro",
    "day=02/part-0.avro",
    "day=02/deep/er/part-0.avro",
    "day=02/notes.txt",
    "top.avro",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """TREE as local files, and a directory whose name ends in .avro."""
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "day=01" / "directory.avro").mkdir()
    return tmp_path


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    """The URL of a directory of the memory filesystem that holds TREE."""
    fs = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}"
    fs.pipe({f"{root}/{name}": name.encode() for name in TREE})
    yield f"memory:/{root}"
    fs.rm(root, recursive=True)


@pytest.fixture
def s3_tree(put: PutObjects, bucket: str) -> str:
    """The URL of a bucket that holds TREE."""
    put({name: name.encode() for name in TREE})
    return f"s3://{bucket}"


# --- URIs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://b/path/to/*.avro", ("b", "path/to/", "path/to/*.avro")),
        ("s3://b/*.avro", ("b", "", "*.avro")),
        ("s3a://b/file?.avro", ("b", "", "file?.avro")),
        ("avroglob://b/x/y-{a,b}/**", ("b", "x/", "x/y-{a,b}/**")),
        ("s3://b/x/[0-9].avro", ("b", "x/", "x/[0-9].avro")),
        ("s3://b/path/to/file.avro", ("b", "path/to/file.avro", "path/to/file.avro")),
    ],
)
def test_s3_uri_splits(uri: str, expected: tuple[str, str, str]) -> None:
    assert parse_s3_glob_uri(uri) == expected


@pytest.mark.parametrize(
    "uri", ["b/*.avro", "gs://b/*.avro", "s3://", "s3:///key", "s3://b", "s3://b/", "s3://b*/key"]
)
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"not an S3 URI|names no|pattern for its bucket"):
        parse_s3_glob_uri(uri)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://b/k", True),
        ("s3a://b/k", True),
        ("avroglob://b/k", True),
        ("gs://b/k", False),
        ("/local/s3://", False),
        (Path("s3"), False),
    ],
)
def test_s3_uris_are_recognized_by_their_scheme(path: str | Path, expected: bool) -> None:
    assert is_s3_uri(path) is expected


def test_globs_are_recognized_by_their_magic_characters() -> None:
    assert is_glob_pattern("s3://b/*.avro")
    assert not is_glob_pattern("s3://b/a.avro")


# --- local paths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*/part-0.avro", ["day=01/part-0.avro", "day=02/part-0.avro"]),
        ("day=01/*.avro", ["day=01/part-0.avro", "day=01/part-1.avro"]),
        ("day=0[!1]/part-?.avro", ["day=02/part-0.avro"]),
        ("{top,day=0{1..2}/part-0}.avro", ["day=01/part-0.avro", "day=02/part-0.avro", "top.avro"]),
        ("day=02/**/part-0.avro", ["day=02/deep/er/part-0.avro", "day=02/part-0.avro"]),
        ("{day=01/*,*/part-1}.avro", ["day=01/part-0.avro", "day=01/part-1.avro"]),
    ],
)
def test_local_globs_give_files(tree: Path, pattern: str, expected: list[str]) -> None:
    assert expand_path(f"{tree}/{pattern}") == [f"{tree}/{name}" for name in expected]
    assert expand_path(tree / pattern) == [f"{tree}/{name}" for name in expected]


def test_relative_stays_relative(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "day=02")

    assert expand_path("*.txt") == ["notes.txt"]
    assert expand_path("./*.txt") == ["./notes.txt"]
    assert expand_path("../day=01/{part-1,part-0}.avro") == [
        "../day=01/part-0.avro",
        "../day=01/part-1.avro",
    ]


def test_home_directory_is_expanded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))

    assert expand_path("~/t*.avro") == [f"{tree}/top.avro"]
    assert expand_path("~/top.avro", glob=False) == [f"{tree}/top.avro"]


def test_file_urls_stay_file_urls(tree: Path) -> None:
    assert expand_path(f"file://{tree}/top.*") == [f"file://{tree}/top.avro"]


def test_options_skip_local_paths(tree: Path) -> None:
    assert expand_path(tree / "top.avro", {"key": "k", "secret": "s"}) == [f"{tree}/top.avro"]


@pytest.mark.parametrize("pattern", ["nothing-*.avro", "day=0*", "day=0{1,2}/"])
def test_no_match_names_the_pattern(tree: Path, pattern: str) -> None:
    with pytest.raises(FileNotFoundError, match="No local file matches") as caught:
        expand_path(f"{tree}/{pattern}")

    assert caught.value.filename == f"{tree}/{pattern}"


def test_missing_file_is_named(tree: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        expand_path(tree / "none.avro")

    assert caught.value.filename == f"{tree}/none.avro"


def test_directory_is_no_file(tree: Path) -> None:
    with pytest.raises(IsADirectoryError, match="day=01"):
        expand_path(tree / "day=01")


def test_literal_paths_are_not_looked_up(tree: Path) -> None:
    assert expand_path("none-[1].avro", glob=False) == ["none-[1].avro"]
    assert expand_path("s3://nowhere/{x", glob=False) == ["s3://nowhere/{x"]


@pytest.mark.parametrize("pattern", ["{a,b", "x/a**b"])
def test_invalid_pattern_gets_a_caret(tree: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match=r"(?m)^ +\^$"):
        expand_path(f"{tree}/{pattern}")


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a str or a path, not 3"):
        expand_paths([3])  # type: ignore[list-item]


# --- other filesystems --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/*/part-0.avro", ["/day=01/part-0.avro", "/day=02/part-0.avro"]),
        ("/{top,*/part-1}.avro", ["/day=01/part-1.avro", "/top.avro"]),
        ("/top.avro", ["/top.avro"]),
    ],
)
def test_fsspec_urls_use_the_grammar(memory: str, pattern: str, expected: list[str]) -> None:
    assert expand_path(memory + pattern) == [memory + name for name in expected]


def test_archive_members_keep_the_chain(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("x/1.avro", b"")
        out.writestr("x/2.avro", b"")

    assert expand_path(f"zip://x/*.avro::{archive}") == [
        f"zip://x/1.avro::{archive}",
        f"zip://x/2.avro::{archive}",
    ]


def test_http_question_mark_is_a_query(put: PutObjects, bucket: str, endpoint: Endpoint) -> None:
    put({"a.avro": user_file(3)})
    target = {"Bucket": bucket, "Key": "a.avro"}
    url = endpoint.client().generate_presigned_url("get_object", Params=target)

    assert "?" in url
    assert expand_path(url) == [url]
    assert ResolvedSources.resolve(url).paths == (url,)


def test_options_go_by_protocol(
    tree: Path, put: PutObjects, bucket: str, endpoint: Endpoint
) -> None:
    put({"a.avro": user_file(3)})
    target = {"Bucket": bucket, "Key": "a.avro"}
    http = endpoint.client().generate_presigned_url("get_object", Params=target)
    sources = [http, f"avroglob://{bucket}/a.avro", tree / "top.avro"]

    # Neither of the two knows the options of the other.
    options = {"s3": endpoint.storage_options, "http": {"block_size": 0}}

    assert expand_paths(sources, options) == list(map(str, sources))
    assert ResolvedSources.resolve(sources[:2], options).paths == tuple(sources[:2])


def test_options_by_registered_protocol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Mine(MemoryFileSystem):
        protocol = "mine"

    monkeypatch.setitem(_registry, "mine", Mine)
    options = {"s3": {"anon": True}, "mine": {}}

    assert type(filesystem_for("s3://bucket/key", options)[0]) is AvroGlobFileSystem
    assert type(filesystem_for("mine://key", options)[0]) is Mine


def test_each_source_gets_its_fs(tmp_path: Path) -> None:
    local, path = filesystem_for(tmp_path)
    s3, key = filesystem_for("s3a://bucket/a/*.avro", {"anon": True})

    assert (type(local), path) == (LocalFileSystem, str(tmp_path))
    assert (type(s3), key) == (AvroGlobFileSystem, "bucket/a/*.avro")


# --- several paths ------------------------------------------------------------------------------


def test_order_is_kept_without_repeats(tree: Path, memory: str) -> None:
    names = [f"{memory}/top.avro", f"{tree}/day=02/*.avro", f"{tree}/*/part-0.avro", tree / TREE[0]]

    assert expand_paths(names) == [
        f"{memory}/top.avro",
        f"{tree}/day=02/part-0.avro",
        f"{tree}/day=01/part-0.avro",
    ]


def test_spellings_of_a_file_are_one(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)

    assert expand_paths(["top.avro", tree / "top.avro", f"file://{tree}/top.avro"]) == ["top.avro"]
    assert expand_paths(["x", "./x", "x"], glob=False) == ["x"]


def test_one_name_is_a_list(tree: Path) -> None:
    assert expand_paths(str(tree / "top.avro")) == [f"{tree}/top.avro"]
    assert expand_paths([]) == []


async def test_coroutines_do_the_same(tree: Path, memory: str) -> None:
    names = [f"{memory}/top.avro", f"{tree}/{{top,nothing}}.avro"]

    assert await expand_paths_async(names) == expand_paths(names)
    assert await expand_path_async("x[1]", glob=False) == ["x[1]"]
    with pytest.raises(FileNotFoundError, match=r"nothing-\*"):
        await expand_path_async(tree / "nothing-*")


def test_blocking_works_in_a_loop(tree: Path) -> None:
    async def main() -> list[str]:
        return expand_path(tree / "t*.avro")

    assert asyncio.run(main()) == [f"{tree}/top.avro"]


# --- S3 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3", "s3a", "avroglob"])
def test_s3_urls_keep_their_scheme(s3_tree: str, endpoint: Endpoint, scheme: str) -> None:
    root = s3_tree.replace("s3://", f"{scheme}://")

    found = expand_path(f"{root}/{{day=*/part-0,top}}.avro", endpoint.storage_options)

    assert found == [f"{root}/{name}" for name in (TREE[0], TREE[2], "top.avro")]


def test_one_object_costs_one_request(s3_tree: str, proxy: FaultProxy) -> None:
    options = {**proxy.storage_options, "skip_instance_cache": True}

    assert expand_path(f"{s3_tree}/top.avro", options) == [f"{s3_tree}/top.avro"]
    assert [request.operation for request in proxy.requests] == ["HeadObject"]


def test_a_missing_object_is_an_error_that_names_it(s3_tree: str, endpoint: Endpoint) -> None:
    for name in (f"{s3_tree}/none.avro", f"{s3_tree}/none/*.avro"):
        with pytest.raises(FileNotFoundError) as caught:
            expand_path(name, endpoint.storage_options)
        assert caught.value.filename == name
    with pytest.raises(IsADirectoryError, match="day=01"):
        expand_path(f"{s3_tree}/day=01", endpoint.storage_options)


def test_magic_key_of_an_object(put: PutObjects, bucket: str, endpoint: Endpoint) -> None:
    put({"a[1].avro": user_file(1), "a1.avro": user_file(2)})
    name = f"s3://{bucket}/a[1].avro"

    assert expand_path(name, endpoint.storage_options) == [name]  # it names an object
    assert expand_path(f"s3://{bucket}/a*", endpoint.storage_options) == [
        f"s3://{bucket}/a1.avro",
        name,
    ]
    resolved = ResolvedSources.resolve(name, endpoint.storage_options, glob=False)
    assert resolved.paths == (name,)


def test_two_schemes_are_one_file(s3_tree: str, endpoint: Endpoint) -> None:
    names = [f"{s3_tree}/top.avro", f"{s3_tree}/t*".replace("s3://", "avroglob://")]

    assert expand_paths(names, endpoint.storage_options) == names[:1]


def test_s3_globs_take_s3_uris_only(s3_tree: str, endpoint: Endpoint, tree: Path) -> None:
    assert expand_s3_glob(f"{s3_tree}/*.avro", endpoint.storage_options) == [f"{s3_tree}/top.avro"]
    with pytest.raises(ValueError, match="not an S3 URI"):
        expand_s3_glob(f"{tree}/*.avro")


def test_chained_urls_reach_s3(s3_tree: str, endpoint: Endpoint) -> None:
    options = {"s3": {**endpoint.storage_options, "max_retries": 1}}
    name = f"simplecache::{s3_tree}/{{top,none}}.avro"

    assert expand_path(name, options) == [f"simplecache::{s3_tree}/top.avro"]
    fs, _ = filesystem_for(name, options)
    assert isinstance(fs.fs, AvroGlobFileSystem)
    assert "avroglob" not in options


async def test_coroutines_close_their_session(s3_tree: str, endpoint: Endpoint, tree: Path) -> None:
    options = endpoint.storage_options
    names = [f"{s3_tree}/*/part-0.avro", tree / "top.avro", f"{s3_tree}/top.avro"]

    assert await expand_paths_async(names, options) == expand_paths(names, options)
    assert await expand_s3_glob_async(f"{s3_tree}/t*", options) == [f"{s3_tree}/top.avro"]
    with pytest.raises(FileNotFoundError):
        await expand_path_async(f"{s3_tree}/none.avro", options)


def test_coroutines_work_in_any_loop(s3_tree: str, endpoint: Endpoint) -> None:
    for _ in range(2):
        found = asyncio.run(expand_path_async(f"{s3_tree}/t*", endpoint.storage_options))
        assert found == [f"{s3_tree}/top.avro"]


# --- errors ---


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("S3://bucket/a.avro", "serves S3://; schemes are lower case, write s3://"),
        ("Avroglob://bucket/*.avro", "schemes are lower case, write avroglob://"),
        ("simplecache::S3A://bucket/a.avro", "write s3a://"),
        ("s3n://bucket/a.avro", "did you mean 's3'"),
        ("nosuchthing://a.avro", r"serves nosuchthing:// \(S3 is s3://, s3a:// and avroglob://;"),
    ],
)
def test_an_unknown_scheme_is_an_error_that_names_known_ones(url: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as error:
        expand_path(url)
    assert url in str(error.value)


def test_s3_options_are_refused_for_http() -> None:
    options = {"key": "name", "secret": "hidden", "use_listings_cache": False, "headers": {}}

    with pytest.raises(
        ValueError, match=r"http://h/a.avro: 'key', 'secret' are storage options of S3"
    ) as e:
        filesystem_for("http://h/a.avro", options)
    assert "hidden" not in str(e.value)
    fs, _ = filesystem_for("http://h/a.avro", {"s3": options, "http": {"headers": {"a": "b"}}})
    assert fs.kwargs == {"headers": {"a": "b"}}
