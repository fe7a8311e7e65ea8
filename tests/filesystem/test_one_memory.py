"""What an instance says never contradicts its newest listing, nor what it wrote itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy

KEYS = ("a", "a/b", "d/e", "d/f/g", "d/f", "h")
DIRECTORIES = ("a", "d", "d/f")


class World:
    """The objects of a bucket by size, and all that an instance may say about each path.

    What it may say is what was true at any time since its newest listing of the path, or since it
    wrote the path itself.
    """

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}
        self.may_say: dict[tuple[str, bool], set[Any]] = {}
        self.pin()

    def truth(self, path: str, directory: bool) -> Any:
        if directory:
            return any(key.startswith(path + "/") for key in self.objects)
        return self.objects.get(path)

    def paths(self) -> list[tuple[str, bool]]:
        return [(key, False) for key in KEYS] + [(path, True) for path in DIRECTORIES]

    def change(self, key: str, size: int | None) -> None:
        self.objects.pop(key, None)
        if size is not None:
            self.objects[key] = size
        for path in self.paths():
            self.may_say[path].add(self.truth(*path))

    def pin(self, covered: Callable[[str, bool], bool] = lambda path, directory: True) -> None:
        for path in self.paths():
            if covered(*path):
                self.may_say[path] = {self.truth(*path)}


def within(pattern: str) -> Callable[[str, bool], bool]:
    """What a listing of a pattern covers."""
    top, _, last = pattern.rpartition("/")

    def covered(path: str, directory: bool) -> bool:
        if last == "**":
            return not top or path.startswith(top + "/")
        return path.rpartition("/")[0] == top

    return covered


LISTINGS: dict[str, Callable[[AvroGlobFileSystem, str], Any]] = {
    "*": lambda fs, bucket: fs.glob(f"{bucket}/*"),
    "**": lambda fs, bucket: fs.find(bucket),
    "d/*": lambda fs, bucket: fs.glob(f"{bucket}/d/*", detail=True),
    "d/**": lambda fs, bucket: fs.glob(f"{bucket}/d/**"),
    "a/**": lambda fs, bucket: fs.find(f"{bucket}/a"),
    "d/f/*": lambda fs, bucket: fs.ls(f"{bucket}/d/f", refresh=True),
}


def listed(fs: AvroGlobFileSystem, bucket: str, name: str) -> None:
    with suppress(FileNotFoundError):
        LISTINGS[name](fs, bucket)


def check(fs: AvroGlobFileSystem, bucket: str, world: World) -> None:
    """Ask everything about every path."""
    for key in KEYS:
        files, path = world.may_say[key, False], f"{bucket}/{key}"
        directories = world.may_say.get((key, True), {False})
        is_file, is_directory, exists = fs.isfile(path), fs.isdir(path), fs.exists(path)
        some = {file is not None or inner for file in files for inner in directories}
        assert exists in some, (key, exists, files, directories)
        assert is_directory in directories, (key, is_directory, directories)
        if directories == {False}:
            assert is_file in {size is not None for size in files}, (key, is_file, files)
        try:
            info = fs.info(path)
        except FileNotFoundError:
            assert False in some, (key, files, directories)
        else:
            assert (info["size"] in files) if info["type"] == "file" else True in directories
    for directory in ("", *DIRECTORIES):
        path = f"{bucket}/{directory}".rstrip("/")
        try:
            names = {(i["name"], i["type"]): i["size"] for i in fs.ls(path, detail=True)}
        except FileNotFoundError:
            names = {}
        for (inner, is_dir), may_say in world.may_say.items():
            if inner.rpartition("/")[0] == directory:
                kind = "directory" if is_dir else "file"
                found = names.get((f"{bucket}/{inner}", kind))
                said: Any = found is not None if is_dir else found
                assert said in may_say, ("ls", directory, inner, said, may_say)


CHANGES = st.tuples(st.sampled_from(["ours", "other's"]), st.sampled_from(KEYS), st.integers(0, 3))
STEPS = CHANGES | st.tuples(st.just("list"), st.sampled_from(list(LISTINGS))) | st.just(("ask",))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=12))
def test_one_memory(make_fs: MakeFs, bucket: str, steps: list[tuple[Any, ...]]) -> None:
    fs, other = make_fs(), make_fs(use_listings_cache=False)
    for path in other.find(bucket):
        other.rm_file(path)
    world = World()
    for step in steps:
        match step:
            case ("ask",):
                check(fs, bucket, world)
            case "list", name:
                listed(fs, bucket, name)
                world.pin(within(name))
            case who, key, size:
                writer = fs if who == "ours" else other
                if size:
                    writer.pipe_file(f"{bucket}/{key}", b"x" * size)
                else:
                    writer.rm_file(f"{bucket}/{key}")
                world.change(key, size or None)
                if who == "ours":
                    own = {key, *(key[:end] for end, sign in enumerate(key) if sign == "/")}
                    world.pin(lambda path, directory, own=own: path in own)
    check(fs, bucket, world)


# --- examples -------------------------------------------------------------------------------------


def test_newer_listing_forgets_what_is_gone(
    fs: AvroGlobFileSystem, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({"d/lock": b"1", "d/a": b"1", "gone/x": b"1"})
    fs.glob(f"{bucket}/d/*")
    fs.glob(f"{bucket}/*")
    fs.ls(f"{bucket}/gone")
    make_fs().rm([f"{bucket}/d/lock", f"{bucket}/gone/x"])

    fs.glob(f"{bucket}/d/*")
    fs.glob(f"{bucket}/*")

    assert not fs.exists(f"{bucket}/d/lock")
    assert not fs.isfile(f"{bucket}/d/lock")
    assert not fs.isdir(f"{bucket}/gone")
    assert not fs.exists(f"{bucket}/gone/x")


def test_ls_follows_newer_globs(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"d/a": b"1"})
    fs.ls(f"{bucket}/d")
    put({"d/b": b"1"})

    fs.glob(f"{bucket}/d/*")

    assert fs.ls(f"{bucket}/d", detail=False) == [f"{bucket}/d/a", f"{bucket}/d/b"]


def test_repeated_walk_costs_nothing(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str
) -> None:
    first = list(counted.walk(forest))
    proxy.clear()
    assert list(counted.walk(forest)) == first
    assert proxy.requests == []


def test_repeated_head_is_remembered(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    assert counted.exists(path)
    assert counted.isfile(path)
    assert counted.info(path)["size"] == 12
    assert proxy.count("HeadObject") == 1

    counted.info(path, refresh=True)
    counted.invalidate_cache(path)
    counted.info(path)
    assert proxy.count("HeadObject") == 3


def test_absence_is_not_remembered(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"d/a": b"1"})
    fs.ls(f"{bucket}/d")
    assert not fs.exists(f"{bucket}/d/b")
    put({"d/b": b"1"})

    assert fs.exists(f"{bucket}/d/b")
    assert fs.ls(f"{bucket}/d", detail=False) == [f"{bucket}/d/a", f"{bucket}/d/b"]


def test_missing_object_is_forgotten(fs: AvroGlobFileSystem, make_fs: MakeFs, path: str) -> None:
    fs.ls(path.rpartition("/")[0])
    make_fs().rm_file(path)

    with pytest.raises(FileNotFoundError):
        fs.cat_file(path)

    assert not fs.exists(path)


def test_max_paths_bounds_listings(
    make_fs: MakeFs, proxy: FaultProxy, bucket: str, put: PutObjects
) -> None:
    put({"a/x": b"1", "b/x": b"1"})
    fs = make_fs(proxy.storage_options, max_paths=1)
    fs.ls(f"{bucket}/a")
    fs.ls(f"{bucket}/b")
    proxy.clear()

    fs.ls(f"{bucket}/b")
    assert proxy.count() == 0
    fs.ls(f"{bucket}/a")
    assert proxy.count("ListObjectsV2") == 1


def test_dircache_is_a_view(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"d/a": b"1"})
    directory = f"{bucket}/d"
    assert directory not in fs.dircache
    fs.ls(directory)
    assert [info["name"] for info in fs.dircache[directory]] == [f"{directory}/a"]
    assert list(fs.dircache) == [directory]

    fs.dircache.pop(directory)
    assert directory not in fs.dircache
    fs.dircache.clear()
    assert len(fs.dircache) == 0


REPLACED: dict[str, Callable[[AvroGlobFileSystem, str], bytes]] = {
    "open": lambda fs, path: fs.open(path).read(),
    "open and seek from the end": lambda fs, path: tail(fs, path),
    "cat_file": lambda fs, path: fs.cat_file(path),
    "cat_file to before the end": lambda fs, path: fs.cat_file(path, start=0, end=-1) + b"!",
    "head": lambda fs, path: fs.head(path, 1_000),
    "tail": lambda fs, path: fs.tail(path, 1_000),
}


def tail(fs: AvroGlobFileSystem, path: str) -> bytes:
    """Read as readers of Parquet do: the size first, then from the end."""
    with fs.open(path) as file:
        size = file.seek(0, 2)
        file.seek(-size, 2)
        content: bytes = file.read()
        return content


@pytest.mark.parametrize("read", REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("content", [b"longer than what was listed!", b"short!"])
def test_replaced_object_is_read_anew(
    fs: AvroGlobFileSystem,
    path: str,
    put: PutObjects,
    read: Callable[[AvroGlobFileSystem, str], bytes],
    content: bytes,
) -> None:
    fs.ls(path.rpartition("/")[0])
    put({"dir/key": content})

    assert read(fs, path) == content


def test_parquet_of_one_url_takes_three_requests(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str
) -> None:
    assert counted.isfile(path)
    with counted.open(path) as file:
        file.seek(0, 2)
        file.seek(-4, 2)
        assert file.read() == b"tent"
        file.seek(0)
        assert file.read(4) == b"some"
    assert [request.operation for request in proxy.requests] == ["HeadObject", "GetObject"]
