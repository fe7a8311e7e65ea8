"""Globs of a real server: equal to s3fs's, few requests, remembered, and closed when asked to."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import s3fs
from fsspec.asyn import sync
from fsspec.callbacks import Callback
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks.endpoint import SyntheticEndpoint
from fsspec_avroglob.filesystem import AvroGlobFileSystem
from fsspec_avroglob.magic import is_glob_pattern
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint
from tests.support.trees import brace_free_patterns, random_tree

# No key is a directory as well: there find, du and info of s3fs contradict one another.
TREE = [
    "a.txt",
    "b",
    "b-/x",
    "b.d/x.avro",
    "c/d/e/f.avro",
    "c/d/e/g.avro",
    "c/d/h.avro",
    "c/d0/h.avro",
    "c/i.csv",
    "c/éé/日本.avro",
    "dir 1/a+b.txt",
    "dir 1/per%20cent",
    "x[1]/y*.txt",
    "x[1]/y?.txt",
    "year=2023/month=01/part-00000.avro",
    "year=2023/month=01/part-00001.avro",
    "year=2023/month=02/part-00000.avro",
    "year=2024/month=01/part-00000.avro",
    "year=2024/month=12/part-00003.avro",
    "z/z/z/z",
]


@pytest.fixture(scope="module")
def reference(endpoint: Endpoint) -> s3fs.S3FileSystem:
    """S3fs, asking the server each time."""
    return s3fs.S3FileSystem(
        **endpoint.storage_options, use_listings_cache=False, skip_instance_cache=True
    )


@pytest.fixture(scope="module")
def shared(endpoint: Endpoint) -> AvroGlobFileSystem:
    """A filesystem for all tests of this module, as a new one costs more than a glob."""
    return AvroGlobFileSystem(**endpoint.storage_options, skip_instance_cache=True)


@pytest.fixture
def fs(shared: AvroGlobFileSystem) -> AvroGlobFileSystem:
    """The shared filesystem, without what it has learned."""
    shared.invalidate_cache()
    return shared


@pytest.fixture(scope="module")
def forest(reference: s3fs.S3FileSystem) -> Iterator[str]:
    """A bucket that holds TREE, for tests that only read."""
    name = f"test-{uuid.uuid4().hex}"
    reference.mkdir(name)
    reference.pipe({f"{name}/{key}": key.encode() for key in TREE})
    yield name
    reference.rm(name, recursive=True)


@pytest.fixture
def tree(put: PutObjects) -> list[str]:
    """Keys of a tree stored in `bucket`, for tests that change it."""
    put({key: key.encode() for key in TREE})
    return TREE


@pytest.fixture
def counted(make_fs: MakeFs, proxy: FaultProxy) -> AvroGlobFileSystem:
    """A filesystem whose requests `proxy` counts."""
    return make_fs(proxy.storage_options)


def same_infos(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> bool:
    """Whether two results say the same of the same paths, apart from what servers vary."""
    told = {"file": ("name", "size", "type", "Key", "ETag", "LastModified", "StorageClass")}
    directory = ("name", "size", "type", "StorageClass")
    return list(one) == list(other) and all(
        [one[path].get(field) for field in told.get(one[path]["type"], directory)]
        == [info.get(field) for field in told.get(info["type"], directory)]
        for path, info in other.items()
    )


# --- equality with s3fs --------------------------------------------------------------------------

GLOBS = [
    *("*", "**", "*/", "**/", "c/*", "c/**", "c/**/", "c/*/", "*.txt", "b*", "b*/", "?", "?/*"),
    *("c/d/*", "c/d*/*.avro", "c/**/*.avro", "**/h.avro", "**/d/**", "*/*/*", "*/*/*/*", "c/*/e"),
    *("[ab]*", "[!a-c]*", "[b-y]*/", "c/[d]*", "x[[]1]/*", "x[[]1]/y[*].txt", "x[1]/*", "dir*/*"),
    *("year=*/month=01/*", "year=202[34]/**", "year=*/month=*/part-0000[0-1].avro", "**/month=0*"),
    *("c/é*", "c/é*/日*", "none/*", "none/**", "c/i.csv/*", "z/**/z", "**/z/*", "c/d/e/f.avro*"),
]


@pytest.mark.parametrize("maxdepth", [None, 1, 2])
def test_globs_equal_those_of_s3fs(
    fs: AvroGlobFileSystem, reference: s3fs.S3FileSystem, forest: str, maxdepth: int | None
) -> None:
    for text in GLOBS:
        path = f"{forest}/{text}"
        found = fs.glob(path, maxdepth=maxdepth, detail=True)
        assert same_infos(found, reference.glob(path, maxdepth=maxdepth, detail=True)), text
        assert fs.glob(path, maxdepth=maxdepth) == list(found), text


@pytest.mark.parametrize("seed", range(3))
def test_random_globs_equal_those_of_s3fs(
    fs: AvroGlobFileSystem,
    reference: s3fs.S3FileSystem,
    bucket: str,
    put: PutObjects,
    seed: int,
) -> None:
    tree = random_tree(seed)
    put(dict.fromkeys(tree, b""))

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        brace_free_patterns.filter(is_glob_pattern).filter(
            # In fsspec's regular expressions these sets match a slash, which no name holds.
            lambda text: "[.-0]" not in text and "[!" not in text
        ),
        st.sampled_from(["", "", "/"]),
        st.none() | st.integers(1, 4),
        st.booleans(),
    )
    def compare(text: str, end: str, maxdepth: int | None, withdirs: bool) -> None:
        # To a depth, s3fs takes a root that is an object as well for that alone.
        root = text.partition("/**")[0]
        assume(maxdepth is None or is_glob_pattern(root) or root not in tree)
        path, options = f"{bucket}/{text}{end}", {"maxdepth": maxdepth, "withdirs": withdirs}
        # What s3fs finds can depend on what it listed before.
        reference.invalidate_cache()
        assert fs.glob(path, **options) == reference.glob(path, **options)

    compare()


@pytest.mark.parametrize("method", ["glob", "iglob"])
def test_a_missing_bucket_is_named(fs: AvroGlobFileSystem, method: str) -> None:
    with pytest.raises(FileNotFoundError, match="bucket does not exist: 'no-such-bucket'"):
        list(getattr(fs, method)("no-such-bucket/dir/*"))


LISTINGS: dict[str, Callable[[s3fs.S3FileSystem, str], Any]] = {
    "find": lambda fs, path: fs.find(path),
    "find with directories": lambda fs, path: fs.find(path, withdirs=True),
    "find to a depth": lambda fs, path: fs.find(path, maxdepth=2),
    "find to a depth with directories": lambda fs, path: fs.find(path, maxdepth=1, withdirs=True),
    "find with a prefix": lambda fs, path: fs.find(path, prefix="p"),
    "ls": lambda fs, path: fs.ls(path),
    "ls with a slash": lambda fs, path: fs.ls(path + "/"),
    "du": lambda fs, path: fs.du(path),
    "du of each": lambda fs, path: fs.du(path, total=False),
    "du with directories": lambda fs, path: fs.du(path, total=False, withdirs=True),
    "du to a depth": lambda fs, path: fs.du(path, maxdepth=1),
    "walk": lambda fs, path: list(fs.walk(path)),
    "walk to a depth": lambda fs, path: list(fs.walk(path, maxdepth=2)),
    "walk upwards": lambda fs, path: list(fs.walk(path, topdown=False)),
    "isdir": lambda fs, path: fs.isdir(path),
    "isfile": lambda fs, path: fs.isfile(path),
    "exists": lambda fs, path: fs.exists(path),
}


def outcome(
    listing: Callable[[s3fs.S3FileSystem, str], Any], fs: s3fs.S3FileSystem, path: str
) -> Any:
    try:
        return listing(fs, path)
    except OSError as error:
        return type(error)


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_other_listings_equal_those_of_s3fs(
    fs: AvroGlobFileSystem,
    reference: s3fs.S3FileSystem,
    forest: str,
    listing: Callable[[s3fs.S3FileSystem, str], Any],
) -> None:
    for directory in ["", "/c", "/c/d", "/b", "/year=2023", "/dir 1", "/none", "/none/x"]:
        path = forest + directory
        fs.invalidate_cache()
        assert outcome(listing, fs, path) == outcome(listing, reference, path), directory


@pytest.mark.parametrize("path", ["c", "year=2023", "c/i.csv", "x[1]"])
def test_infos_of_find_and_ls_equal_those_of_s3fs(
    fs: AvroGlobFileSystem,
    reference: s3fs.S3FileSystem,
    forest: str,
    path: str,
) -> None:
    path = f"{forest}/{path}"
    for withdirs in (False, True):
        found = fs.find(path, detail=True, withdirs=withdirs)
        assert same_infos(found, reference.find(path, detail=True, withdirs=withdirs))
    listed = {info["name"]: info for info in fs.ls(path, detail=True)}
    assert same_infos(listed, {i["name"]: i for i in reference.ls(path, detail=True)})


# --- the path that is given ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["*", "**", "*/a", "b*/a", "s3://*", "avroglob://b?/x", "{a*,b}/c"]
)
def test_a_glob_over_all_buckets_is_refused(fs: AvroGlobFileSystem, text: str) -> None:
    with pytest.raises(ValueError, match="Cannot traverse all of S3"):
        fs.glob(text)


def test_an_invalid_pattern_is_refused_without_a_request(
    counted: AvroGlobFileSystem, proxy: FaultProxy
) -> None:
    for text in ("bucket/a**", "bucket/{a", "bucket/***/b"):
        with pytest.raises(ValueError, match="Invalid pattern"):
            counted.glob(text)
        with pytest.raises(ValueError, match="Invalid pattern"):
            next(counted.iglob(text))
    with pytest.raises(ValueError, match="maxdepth must be at least 1"):
        counted.glob("bucket/**", maxdepth=0)
    assert proxy.requests == []


@pytest.mark.parametrize("protocol", ["", "s3://", "s3a://", "avroglob://"])
def test_every_protocol_means_the_same(fs: AvroGlobFileSystem, forest: str, protocol: str) -> None:
    assert fs.glob(f"{protocol}{forest}/c/*.csv") == [f"{forest}/c/i.csv"]


def test_a_path_without_magic_is_looked_up(fs: AvroGlobFileSystem, forest: str) -> None:
    assert fs.glob(f"{forest}/a.txt") == [f"{forest}/a.txt"]
    assert fs.glob(f"{forest}/c/d") == [f"{forest}/c/d"]
    assert fs.glob(f"{forest}/none") == []
    assert fs.glob(f"{forest}/none", detail=True) == {}
    assert fs.glob(f"{forest}/a.txt", detail=True)[f"{forest}/a.txt"]["size"] == 5
    assert list(fs.iglob(f"{forest}/a.txt")) == [f"{forest}/a.txt"]


def test_a_bucket_that_does_not_exist_is_an_error(fs: AvroGlobFileSystem) -> None:
    for find in (fs.glob, fs.find, lambda path: list(fs.iglob(path))):
        with pytest.raises(FileNotFoundError):
            find(f"none-{uuid.uuid4().hex}/**")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("c/{i.csv,d/h.avro,none}", ["c/d/h.avro", "c/i.csv"]),
        ("year=202{3..4}/month=01/part-0000{0,1}.avro", [TREE[14], TREE[15], TREE[17]]),
        ("{a,b}{.txt,}", ["a.txt", "b"]),
        ("year=20{23/month=02,24/month=12}/*", [TREE[16], TREE[18]]),
    ],
)
def test_braces_list_their_alternatives(
    fs: AvroGlobFileSystem, forest: str, text: str, names: list[str]
) -> None:
    paths = [f"{forest}/{name}" for name in names]
    assert fs.glob(f"{forest}/{text}") == paths
    assert sorted(fs.expand_path(f"{forest}/{text}")) == paths
    assert sorted(fs.iglob(f"{forest}/{text}")) == paths


def test_functions_that_expand_paths_understand_braces(fs: AvroGlobFileSystem, forest: str) -> None:
    contents = fs.cat(f"{forest}/{{a.txt,c/i.csv}}")
    assert contents == {f"{forest}/{name}": name.encode() for name in ("a.txt", "c/i.csv")}


def test_an_object_with_braces_in_its_name_is_itself(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"{a,b}": b"literal", "a": b"a", "b": b"b"})
    assert fs.cat(f"{bucket}/{{a,b}}") == b"literal"
    assert fs.glob(f"{bucket}/{{a,b}}") == [f"{bucket}/a", f"{bucket}/b"]
    assert fs.glob(f"{bucket}/[{{]a,b}}") == [f"{bucket}/{{a,b}}"]


def test_braces_may_name_several_buckets(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    other = f"{bucket}-2"
    fs.mkdir(other)
    try:
        put({"a": b"", "c/x": b""})
        fs.pipe(f"{other}/b", b"")
        expected = [f"{other}/b", f"{bucket}/a", f"{bucket}/c"]
        assert fs.glob(f"{bucket}{{,-2}}/*") == expected
        assert sorted(fs.iglob(f"{bucket}{{,-2}}/*")) == expected
    finally:
        fs.rm(other, recursive=True)


# --- iglob ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["**", "c/*", "year=*/month=01/*", "{a*,c/**}", "*/"])
@pytest.mark.parametrize("withdirs", [True, False])
def test_iglob_yields_what_glob_returns(
    fs: AvroGlobFileSystem, forest: str, text: str, withdirs: bool
) -> None:
    path = f"{forest}/{text}"
    expected = fs.glob(path, detail=True, withdirs=withdirs)

    async def collect(detail: bool) -> list[Any]:
        return [match async for match in fs._iglob(path, withdirs=withdirs, detail=detail)]

    assert sorted(fs.iglob(path, withdirs=withdirs)) == list(expected)
    assert sorted(sync(fs.loop, collect, False)) == list(expected)
    infos = {info["name"]: info for info in fs.iglob(path, withdirs=withdirs, detail=True)}
    assert same_infos(dict(sorted(infos.items())), expected)
    assert len(sync(fs.loop, collect, True)) == len(expected)


@pytest.fixture(scope="module")
def large() -> Iterator[SyntheticEndpoint]:
    """An endpoint with many pages of keys."""
    with SyntheticEndpoint({"many": "counters:20000", "lake": "events:3"}) as running:
        yield running


@pytest.fixture
def pages(large: SyntheticEndpoint, make_fs: MakeFs) -> AvroGlobFileSystem:
    """A filesystem on an endpoint that answers 200 pages for its bucket "many"."""
    large.configure(page_size=100)
    return make_fs(large.storage_options, listing_concurrency=4)


def tasks_of(fs: AvroGlobFileSystem) -> set[str]:
    """The coroutines that run in the filesystem's event loop."""

    async def running() -> set[str]:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        return {repr(task.get_coro()) for task in others}

    found: set[str] = sync(fs.loop, running)
    return found


def test_an_iglob_that_is_closed_early_sends_no_more_requests(
    pages: AvroGlobFileSystem, large: SyntheticEndpoint
) -> None:
    matches: Any = pages.iglob("many/data/*")
    assert len(list(itertools.islice(matches, 250))) == 250
    matches.close()
    sent = large.stats()["requests"]["ListObjectsV2"]
    assert sent < 50
    assert tasks_of(pages) == set()
    assert large.stats()["requests"]["ListObjectsV2"] == sent


def test_an_iglob_that_is_not_read_lists_only_a_little_ahead(
    pages: AvroGlobFileSystem, large: SyntheticEndpoint
) -> None:
    async def run() -> int:
        matches = pages._iglob("many/data/*")
        await anext(matches)
        sent = -1
        while (now := large.stats()["requests"]["ListObjectsV2"]) != sent:
            sent = now
            for _ in range(200):
                await asyncio.sleep(0)
        await matches.aclose()
        return sent

    assert sync(pages.loop, run) < 50
    assert tasks_of(pages) == set()


def test_an_iglob_that_fails_raises_the_error(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str
) -> None:
    proxy.fail("ListObjectsV2", 403, "AccessDenied")
    with pytest.raises(PermissionError):
        list(counted.iglob(f"{forest}/**"))
    assert tasks_of(counted) == set()


def test_a_large_listing_is_complete(pages: AvroGlobFileSystem, large: SyntheticEndpoint) -> None:
    found = pages.glob("many/data/*")
    assert len(found) == len(set(found)) == 20_000
    assert found == sorted(found)
    assert large.stats()["requests"]["ListObjectsV2"] <= 1.15 * 200 + 1


# --- progress ------------------------------------------------------------------------------------


class Recorder(Callback):  # type: ignore[misc]
    """Notes the value after every update."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[int] = []

    def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
        self.values.append(self.value)


def test_a_callback_sees_the_matches_of_each_page(
    pages: AvroGlobFileSystem, forest: str, fs: AvroGlobFileSystem
) -> None:
    recorder = Recorder()
    assert len(pages.glob("many/data/*", callback=recorder)) == recorder.values[-1] == 20_000
    assert recorder.values == sorted(recorder.values)
    assert len(recorder.values) >= 200
    for run in (fs.glob, fs.find):
        recorder = Recorder()
        found = run(f"{forest}/c/**" if run == fs.glob else f"{forest}/c", callback=recorder)
        assert recorder.values[-1] == len(found)


# --- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "requests", "matches"),
    [
        ("events/year=2024/month=*/day=01/hour=00/*.avro", 13, 48),
        ("events/year=*/month=12/day=28/*/part-00000.avro", 8, 72),
        ("events/year=2024/month=03/day=07/hour=*/*.avro", 3, 96),
        ("events/year={2023,2025}/month=0[1-3]/day=01/hour=00/*.avro", 6, 24),
    ],
)
def test_literal_segments_below_a_wildcard_are_not_listed(
    large: SyntheticEndpoint, make_fs: MakeFs, text: str, requests: int, matches: int
) -> None:
    large.configure(page_size=1000)
    fs = make_fs(large.storage_options)
    plan = fs.explain(f"lake/{text}")
    assert large.stats()["requests"] == {}
    assert len(fs.glob(f"lake/{text}")) == matches
    sent = large.stats()["requests"]
    assert set(sent) == {"ListObjectsV2"}
    assert sent["ListObjectsV2"] <= requests
    assert plan.requests == 0
    assert fs.explain(f"lake/{text}", run=True).requests == sent["ListObjectsV2"]


def test_a_small_glob_costs_one_request(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str
) -> None:
    for text in ("c/**", "year=*/month=01/*", "year=2023/month=01/*.avro", "c/*/*", "*"):
        proxy.clear()
        counted.invalidate_cache()
        assert counted.glob(f"{forest}/{text}")
        assert [request.operation for request in proxy.requests] == ["ListObjectsV2"], text


QUESTIONS: dict[str, Callable[[s3fs.S3FileSystem, str], Any]] = {
    "info": lambda fs, path: fs.info(path)["size"],
    "isfile": lambda fs, path: fs.isfile(path),
    "isdir": lambda fs, path: fs.isdir(path),
    "exists": lambda fs, path: fs.exists(path),
    "size": lambda fs, path: fs.size(path),
    "sizes": lambda fs, path: fs.sizes([path]),
    "ukey": lambda fs, path: fs.ukey(path),
    "checksum": lambda fs, path: fs.checksum(path),
    # HEAD has no fractions of a second.
    "modified": lambda fs, path: fs.modified(path).replace(microsecond=0),
    "open": lambda fs, path: fs.open(path).size,
}


@pytest.mark.parametrize(
    "listing",
    [
        lambda fs, bucket: fs.glob(f"{bucket}/c/d/**"),
        lambda fs, bucket: fs.glob(f"{bucket}/c/d/*/*.avro"),
        lambda fs, bucket: fs.glob(f"{bucket}/c/d/**", detail=True),
        lambda fs, bucket: fs.find(f"{bucket}/c/d"),
        lambda fs, bucket: fs.find(f"{bucket}/c/d", withdirs=True, detail=True),
        lambda fs, bucket: fs.ls(f"{bucket}/c/d/e"),
    ],
    ids=["glob", "glob of a level", "glob with detail", "find", "find with detail", "ls"],
)
def test_what_a_listing_found_costs_no_further_request(
    counted: AvroGlobFileSystem,
    reference: s3fs.S3FileSystem,
    proxy: FaultProxy,
    forest: str,
    listing: Callable[[s3fs.S3FileSystem, str], Any],
) -> None:
    listing(counted, forest)
    proxy.clear()
    path = f"{forest}/c/d/e/g.avro"
    for name, ask in QUESTIONS.items():
        answer = ask(counted, path)
        assert proxy.requests == [], name
        if name not in ("ukey", "checksum"):  # of an info's text, which HEAD and LIST differ in
            assert answer == ask(reference, path), name


def test_what_no_listing_found_is_asked(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str
) -> None:
    for name, ask in QUESTIONS.items():
        counted.invalidate_cache()
        counted.glob(f"{forest}/c/d/*")
        proxy.clear()
        ask(counted, f"{forest}/c/i.csv")
        assert proxy.requests, name


def test_a_directory_that_a_glob_found_costs_no_further_request(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str
) -> None:
    assert counted.glob(f"{forest}/c/*/") == [f"{forest}/c/{n}" for n in ("d", "d0", "éé")]
    proxy.clear()
    path = f"{forest}/c/d"
    assert counted.isdir(path)
    assert not counted.isfile(path)
    assert counted.exists(path)
    assert counted.info(path)["type"] == "directory"
    assert proxy.requests == []


CHANGES: dict[str, Callable[[s3fs.S3FileSystem, str], Any]] = {
    "pipe": lambda fs, path: fs.pipe(path, b"changed contents"),
    "open": lambda fs, path: write(fs, path),
    "touch": lambda fs, path: fs.touch(path, truncate=True),
    "copy": lambda fs, path: fs.copy(path.replace("i.csv", "d/h.avro"), path),
    "rm": lambda fs, path: fs.rm(path),
    "rm of a list": lambda fs, path: fs.rm([path]),
    "rm_file": lambda fs, path: fs.rm_file(path),
    "mv": lambda fs, path: fs.mv(path, path + ".moved"),
}


def write(fs: s3fs.S3FileSystem, path: str) -> None:
    with fs.open(path, "wb") as file:
        file.write(b"changed contents")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_own_changes_are_seen_at_once(
    fs: AvroGlobFileSystem,
    reference: s3fs.S3FileSystem,
    bucket: str,
    tree: list[str],
    change: Callable[[s3fs.S3FileSystem, str], Any],
) -> None:
    path = f"{bucket}/c/i.csv"
    fs.glob(f"{bucket}/**")
    assert fs.size(path) == len("c/i.csv")
    change(fs, path)
    for ask in (lambda one, p: one.size(p), lambda one, p: one.exists(p)):
        assert outcome(ask, fs, path) == outcome(ask, reference, path)


@pytest.mark.parametrize("scope", [None, "c", "c/i.csv"])
def test_an_invalidated_cache_is_asked_for_again(
    counted: AvroGlobFileSystem, proxy: FaultProxy, forest: str, scope: str | None
) -> None:
    counted.glob(f"{forest}/c/*")
    counted.invalidate_cache(None if scope is None else f"{forest}/{scope}")
    proxy.clear()
    assert counted.size(f"{forest}/c/i.csv") == 7
    assert proxy.count("HeadObject") == 1


def test_an_expired_listing_is_asked_for_again(
    make_fs: MakeFs, proxy: FaultProxy, forest: str
) -> None:
    fs = make_fs(proxy.storage_options, listings_expiry_time=0)
    fs.glob(f"{forest}/c/*")
    proxy.clear()
    assert fs.size(f"{forest}/c/i.csv") == 7
    assert proxy.count("HeadObject") == 1


def test_without_a_listings_cache_nothing_is_remembered(
    make_fs: MakeFs, proxy: FaultProxy, forest: str
) -> None:
    fs = make_fs(proxy.storage_options, use_listings_cache=False)
    fs.glob(f"{forest}/c/*")
    proxy.clear()
    assert fs.size(f"{forest}/c/i.csv") == 7
    assert proxy.count("HeadObject") == 1


def test_what_others_write_is_found_by_the_next_glob(
    fs: AvroGlobFileSystem, bucket: str, tree: list[str], put: PutObjects
) -> None:
    before = fs.glob(f"{bucket}/c/*")
    put({"c/new": b"", "c/i.csv": b"longer than before"})
    assert sorted([*before, f"{bucket}/c/new"]) == fs.glob(f"{bucket}/c/*")
    assert fs.size(f"{bucket}/c/i.csv") == 18
