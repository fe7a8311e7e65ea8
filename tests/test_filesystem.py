"""The fsspec face of the filesystem, globs apart: options, URLs, copies, what is remembered."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from operator import methodcaller
from pathlib import Path
from typing import Any

import fsspec
import pytest
import s3fs
from fsspec.asyn import AsyncFileSystem
from fsspec.config import conf
from fsspec.spec import AbstractFileSystem

from fsspec_avroglob.filesystem import AvroGlobFileSystem
from fsspec_avroglob.lists import ObjectLists
from fsspec_avroglob.retry import RetryPolicy
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

SCHEMES = ["", "avroglob://", "s3://", "s3a://"]


@pytest.fixture(autouse=True)
def _no_cached_instances() -> Iterator[None]:
    AvroGlobFileSystem.clear_instance_cache()
    yield
    AvroGlobFileSystem.clear_instance_cache()


# --- how it is found ------------------------------------------------------------------------------

NEW_INTERPRETER = """
import json, sys
import fsspec
options, url = json.load(sys.stdin)
with fsspec.open(url, **options) as file:
    content = file.read()
fs = fsspec.filesystem("avroglob", **options)
print(json.dumps({
    "class": type(fs).__name__,
    "content": content.decode(),
    "found": fs.glob(url[:-1] + "*"),
    "s3": fsspec.get_filesystem_class("s3").__name__,
}))
"""


def test_a_new_interpreter_finds_it_without_an_import(
    endpoint: Endpoint, bucket: str, put: PutObjects
) -> None:
    put({"a.txt": b"hello"})

    done = subprocess.run(
        [sys.executable, "-c", NEW_INTERPRETER],
        input=json.dumps([endpoint.storage_options, f"avroglob://{bucket}/a.txt"]),
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {
        "class": "AvroGlobFileSystem",
        "content": "hello",
        "found": [f"{bucket}/a.txt"],
        "s3": "S3FileSystem",
    }


def test_importing_it_leaves_s3_alone() -> None:
    assert fsspec.get_filesystem_class("s3") is s3fs.S3FileSystem


# --- paths ----------------------------------------------------------------------------------------


def test_protocols() -> None:
    assert AvroGlobFileSystem.protocol == ("avroglob", "s3", "s3a")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_urls_are_stripped(fs: AvroGlobFileSystem, scheme: str) -> None:
    assert fs._strip_protocol(f"{scheme}b/dir/key") == "b/dir/key"
    assert fs.split_path(f"{scheme}b/dir/key") == ("b", "dir/key", None)
    assert fs.unstrip_protocol("b/key") == "avroglob://b/key"


READS: dict[str, Callable[[Any, str, str], Any]] = {
    "info": lambda fs, bucket, path: fs.info(path)["name"],
    "info of directory": lambda fs, bucket, path: fs.info(f"{bucket}/dir")["name"],
    "info of bucket": lambda fs, bucket, path: fs.info(bucket)["name"],
    "exists": lambda fs, bucket, path: (fs.exists(path), fs.exists(bucket)),
    "isfile": lambda fs, bucket, path: (fs.isfile(path), fs.isfile(f"{bucket}/dir")),
    "isdir": lambda fs, bucket, path: (fs.isdir(path), fs.isdir(f"{bucket}/dir")),
    "isdir of bucket": lambda fs, bucket, path: fs.isdir(bucket),
    "size": lambda fs, bucket, path: fs.size(path),
    "sizes": lambda fs, bucket, path: fs.sizes([path, path]),
    "checksum": lambda fs, bucket, path: fs.checksum(path),
    "modified": lambda fs, bucket, path: fs.modified(path),
    "ukey": lambda fs, bucket, path: len(fs.ukey(path)),
    "ls": lambda fs, bucket, path: fs.ls(f"{bucket}/dir"),
    "ls of file": lambda fs, bucket, path: fs.ls(path),
    "ls of bucket": lambda fs, bucket, path: fs.ls(bucket, detail=False),
    "ls with detail": lambda fs, bucket, path: fs.ls(f"{bucket}/", detail=True),
    "find": lambda fs, bucket, path: fs.find(bucket),
    "find of file": lambda fs, bucket, path: fs.find(path),
    "find with depth": lambda fs, bucket, path: fs.find(bucket, maxdepth=1, withdirs=True),
    "find with detail": lambda fs, bucket, path: fs.find(f"{bucket}/dir", detail=True),
    "find with prefix": lambda fs, bucket, path: fs.find(bucket, prefix="d"),
    "glob": lambda fs, bucket, path: fs.glob(f"{bucket}/*"),
    "glob of file": lambda fs, bucket, path: fs.glob(path),
    "du": lambda fs, bucket, path: fs.du(bucket),
    "du of each": lambda fs, bucket, path: fs.du(bucket, total=False),
    "walk": lambda fs, bucket, path: list(fs.walk(bucket)),
    "cat": lambda fs, bucket, path: fs.cat(path),
    "cat of list": lambda fs, bucket, path: fs.cat([path]),
    "cat_file": lambda fs, bucket, path: fs.cat_file(path, start=1, end=3),
    "cat_ranges": lambda fs, bucket, path: fs.cat_ranges([path], [0], [2]),
    "head": lambda fs, bucket, path: fs.head(path, 2),
    "open": lambda fs, bucket, path: fs.open(path).read(),
    "expand_path": lambda fs, bucket, path: fs.expand_path(f"{bucket}/dir", recursive=True),
    "metadata": lambda fs, bucket, path: fs.metadata(path),
    "get_tags": lambda fs, bucket, path: fs.get_tags(path),
    "tree": lambda fs, bucket, path: len(fs.tree(bucket)) > 0,
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_reads_take_urls_and_paths_and_answer_as_s3fs_does(
    endpoint: Endpoint, fs: AvroGlobFileSystem, bucket: str, put: PutObjects, scheme: str
) -> None:
    put({"dir/key": b"content", "dir/sub/deep": b"1", "top": b""})
    stock = s3fs.S3FileSystem(**endpoint.storage_options, skip_instance_cache=True)

    def answers(fs: Any, base: str) -> dict[str, Any]:
        told = {}
        for name, read in READS.items():
            fs.invalidate_cache()
            told[name] = read(fs, base, f"{base}/dir/key")
        return told

    assert answers(fs, scheme + bucket) == answers(stock, bucket)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_writes_take_urls_and_paths(
    fs: AvroGlobFileSystem, bucket: str, scheme: str, tmp_path: Path
) -> None:
    base = scheme + bucket
    local = tmp_path / "local"
    local.write_bytes(b"local")

    fs.pipe_file(f"{base}/pipe", b"1")
    fs.pipe({f"{base}/pipes": b"2"})
    fs.touch(f"{base}/touch")
    fs.put_file(str(local), f"{base}/put")
    with fs.open(f"{base}/open", "wb") as file:
        file.write(b"3")
    fs.cp_file(f"{base}/pipe", f"{base}/copy")
    fs.mv(f"{base}/pipes", f"{base}/moved")
    fs.put_tags(f"{base}/pipe", {"tag": "x"})

    assert fs.get_tags(f"{base}/pipe") == {"tag": "x"}
    assert {name: fs.cat(name) for name in fs.find(base)} == {
        f"{bucket}/copy": b"1",
        f"{bucket}/moved": b"2",
        f"{bucket}/open": b"3",
        f"{bucket}/pipe": b"1",
        f"{bucket}/put": b"local",
        f"{bucket}/touch": b"",
    }
    fs.get_file(f"{base}/open", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == b"3"
    fs.rm_file(f"{base}/copy")
    fs.rm([f"{base}/moved", f"{base}/open"])
    fs.rm(f"{base}/p*")
    assert fs.find(base) == [f"{bucket}/touch"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_buckets_are_made_and_removed_by_url_and_path(
    fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str, scheme: str
) -> None:
    new = f"{bucket[:40]}-new"

    fs.mkdir(scheme + new)
    try:
        assert fs.exists(scheme + new)
        fs.rmdir(scheme + new)
        assert not fs.exists(scheme + new)
    finally:
        with contextlib.suppress(endpoint.client().exceptions.ClientError):
            endpoint.client().delete_bucket(Bucket=new)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_objects_are_merged_by_url_and_path(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, scheme: str
) -> None:
    put({"a": b"A" * 5 * 2**20, "b": b"B"})

    fs.merge(f"{scheme}{bucket}/ab", [f"{scheme}{bucket}/a", f"{scheme}{bucket}/b"])

    assert fs.size(f"{bucket}/ab") == 5 * 2**20 + 1


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "a", "username": "b"}, "key and username"),
        ({"endpoint_url": "http://a", "aws_endpoint": "http://b"}, "endpoint_url.*aws_endpoint"),
        ({"max_retry": 1}, "max_retries"),
        ({"max_retries": 1, "retry": {"max_retries": 2}}, "max_retries=1"),
        ({"retry": {"base_delay": -1}}, "base_delay"),
        ({"anon": "perhaps"}, "anon"),
        ({"listing_concurrency": 0}, "listing_concurrency"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AvroGlobFileSystem(**options)


def test_options_may_be_positional_as_s3fs_has_them(
    endpoint: Endpoint, bucket: str, put: PutObjects
) -> None:
    put({"a": b"1"})

    fs = AvroGlobFileSystem(False, endpoint.url, endpoint.key, endpoint.secret, max_retries=1)

    assert fs.ls(bucket) == [f"{bucket}/a"]
    assert fs.config.key == endpoint.key
    assert pickle.loads(pickle.dumps(fs)).ls(bucket) == [f"{bucket}/a"]


def test_positional_options_are_checked_as_a_signature_would() -> None:
    with pytest.raises(TypeError):
        AvroGlobFileSystem(True, anon=False)
    with pytest.raises(TypeError):
        AvroGlobFileSystem(*[None] * 40)


def test_names_of_other_tools_reach_the_endpoint(
    endpoint: Endpoint, bucket: str, put: PutObjects
) -> None:
    put({"a": b"1"})

    fs = AvroGlobFileSystem(
        AWS_ENDPOINT_URL=endpoint.url,
        AWS_ACCESS_KEY_ID=endpoint.key,
        AWS_SECRET_ACCESS_KEY=endpoint.secret,
        AWS_REGION=endpoint.region,
    )

    assert fs.ls(bucket) == [f"{bucket}/a"]


def test_given_options_win_over_environment_variables(
    endpoint: Endpoint, bucket: str, put: PutObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    put({"a": b"1"})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    assert AvroGlobFileSystem(**endpoint.storage_options).ls(bucket) == [f"{bucket}/a"]


@pytest.mark.parametrize("protocol", ["avroglob", "s3"])
def test_the_configuration_of_fsspec_applies(
    endpoint: Endpoint,
    bucket: str,
    put: PutObjects,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
) -> None:
    put({"a": b"1"})
    more = {"max_retries": "4", "skip_instance_cache": True, "batch_size": 7}
    monkeypatch.setitem(conf, protocol, {**endpoint.storage_options, **more})

    fs = fsspec.filesystem("avroglob")

    assert fs.ls(bucket) == [f"{bucket}/a"]
    assert (fs.config.max_retries, fs.batch_size) == (4, 7)


def test_given_options_win_over_the_configuration_of_fsspec(
    endpoint: Endpoint, bucket: str, put: PutObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    put({"a": b"1"})
    configured = {
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:1", "aws_access_key_id": "nobody"},
        "secret": "nothing",
        "max_retries": 7,
    }
    monkeypatch.setitem(conf, "s3", configured)

    fs = AvroGlobFileSystem(
        endpoint=endpoint.url,
        key=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        retry={"max_retries": 1},
    )

    assert fs.ls(bucket) == [f"{bucket}/a"]
    assert fs.config.secret == endpoint.secret
    assert fs.config.max_retries == 1


@pytest.mark.parametrize("value", [5, "5"])
def test_batch_size_may_be_text(fs: AvroGlobFileSystem, value: Any) -> None:
    assert AvroGlobFileSystem(batch_size=value, skip_instance_cache=True).batch_size == 5


def test_anonymous_requests_are_not_signed(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({"a": b"1"})
    fs = make_fs(proxy.storage_options, anon="true")

    for call in (fs.ls, fs.find, fs.exists):
        with contextlib.suppress(PermissionError):
            call(f"{bucket}/a")

    assert proxy.requests
    assert not any("authorization" in request.headers for request in proxy.requests)


def test_requester_pays_is_told_with_every_request(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({"a": b"1"})
    fs = make_fs(proxy.storage_options, requester_pays=True)

    fs.glob(f"{bucket}/*")
    fs.find(bucket)
    fs.cat_file(f"{bucket}/a")
    fs.invalidate_cache()
    fs.info(f"{bucket}/a")
    with fs.open(f"{bucket}/a") as file:
        file.read()

    assert {request.operation for request in proxy.requests} == {
        "GetObject",
        "HeadObject",
        "ListObjectsV2",
    }
    assert {request.headers.get("x-amz-request-payer") for request in proxy.requests} == (
        {"requester"}
    )


# --- copies ---------------------------------------------------------------------------------------

POLICY = RetryPolicy(max_retries=4, base_delay=0, timeout=60)


def copy_by_pickle(fs: AvroGlobFileSystem) -> Any:
    return pickle.loads(pickle.dumps(fs))


def copy_by_json(fs: AvroGlobFileSystem) -> Any:
    return AbstractFileSystem.from_json(fs.to_json())


def copy_by_dict(fs: AvroGlobFileSystem) -> Any:
    return AbstractFileSystem.from_dict(json.loads(json.dumps(fs.to_dict())))


copiers = pytest.mark.parametrize("copy", [copy_by_pickle, copy_by_json, copy_by_dict])


@copiers
def test_a_copy_works_as_the_original_does(
    make_fs: MakeFs, bucket: str, put: PutObjects, copy: Callable[[AvroGlobFileSystem], Any]
) -> None:
    put({"a": b"1"})
    fs = make_fs(retry=POLICY, listing_concurrency="8", use_listings_cache=False)

    assert copy(fs).glob(f"{bucket}/*") == [f"{bucket}/a"]


@copiers
@pytest.mark.parametrize(
    "retry", [POLICY, RetryPolicy(), POLICY.to_dict(), {"max_retries": 4}, 4, None], ids=repr
)
def test_a_copy_has_the_same_configuration(
    make_fs: MakeFs, copy: Callable[[AvroGlobFileSystem], Any], retry: Any
) -> None:
    fs = make_fs(retry=retry, listing_concurrency="8", use_listings_cache=False)

    copied = copy(fs)

    assert type(copied) is AvroGlobFileSystem
    assert copied.config == fs.config
    assert copied.retry_policy == RetryPolicy.from_value(retry)
    assert not copied.memory.enabled


def test_a_pickled_copy_equals_the_original(endpoint: Endpoint) -> None:
    fs = AvroGlobFileSystem(**endpoint.storage_options, retry=POLICY)
    fs.to_json()
    AvroGlobFileSystem.clear_instance_cache()

    copied = copy_by_pickle(fs)

    assert copied is not fs
    assert copied == fs


@copiers
def test_options_that_are_none_do_not_hinder_a_copy(
    make_fs: MakeFs, copy: Callable[[AvroGlobFileSystem], Any]
) -> None:
    fs = make_fs(token=None, retry={"timeout": None}, client_kwargs=None)

    assert copy(fs).config == fs.config


@copiers
def test_a_copy_of_one_with_positional_options_has_the_same_configuration(
    endpoint: Endpoint, copy: Callable[[AvroGlobFileSystem], Any]
) -> None:
    fs = AvroGlobFileSystem(False, endpoint.url, endpoint.key, endpoint.secret, retry=POLICY)

    assert copy(fs).config == fs.config


@copiers
def test_a_copy_works_where_the_configuration_of_fsspec_is_another(
    endpoint: Endpoint,
    bucket: str,
    put: PutObjects,
    monkeypatch: pytest.MonkeyPatch,
    copy: Callable[[AvroGlobFileSystem], Any],
) -> None:
    put({"a": b"1"})
    monkeypatch.setitem(conf, "s3", {"key": "nobody", "endpoint_url": endpoint.url})
    fs = AvroGlobFileSystem(aws_access_key_id=endpoint.key, secret=endpoint.secret)
    monkeypatch.delitem(conf, "s3")
    AvroGlobFileSystem.clear_instance_cache()

    copied = copy(fs)

    assert copied.config == fs.config
    assert copied.ls(bucket) == [f"{bucket}/a"]


def test_an_open_file_can_be_pickled(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"a": b"content"})
    with fs.open(f"{bucket}/a") as file:
        file.read(3)
        with pickle.loads(pickle.dumps(file)) as copied:
            assert copied.read() == b"tent"


def test_the_same_options_give_the_same_instance(endpoint: Endpoint) -> None:
    options = {**endpoint.storage_options, "retry": POLICY}

    assert AvroGlobFileSystem(**options) is AvroGlobFileSystem(**options)
    assert AvroGlobFileSystem(**options) is not AvroGlobFileSystem(**{**options, "retry": 1})


def test_no_credential_shows_in_representations(make_fs: MakeFs) -> None:
    fs = make_fs(key="AKIA-nowhere", secret="s3cr3t-nowhere", token="t0ken-nowhere")

    shown = f"{fs!r} {fs} {fs.config!r} {fs.retry_policy!r}"

    assert "nowhere" not in shown


# --- loops, threads, processes --------------------------------------------------------------------


async def test_it_is_used_from_coroutines(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({f"dir/{number}": b"x" * number for number in range(20)})
    fs = AvroGlobFileSystem(**endpoint.storage_options, asynchronous=True, skip_instance_cache=True)
    client = await fs.set_session()
    try:
        infos = await asyncio.gather(*(fs._info(f"{bucket}/dir/{n}") for n in range(20)))
        await fs._pipe_file(f"avroglob://{bucket}/new", b"new")
        found = await fs._find(f"avroglob://{bucket}")
        one = await fs._cat_file(f"{bucket}/new")

        assert [info["size"] for info in infos] == list(range(20))
        assert len(found) == 21
        assert one == b"new"
        assert await fs._glob(f"{bucket}/dir/1?") == [f"{bucket}/dir/{n}" for n in range(10, 20)]
        assert await fs._exists(f"{bucket}/dir/7")
        assert await fs._isdir(f"{bucket}/dir")
        assert not await fs._exists(f"{bucket}/none")
        assert len(await fs._ls(f"{bucket}/dir", detail=True)) == 20
        assert await fs._du(bucket) == sum(range(20)) + 3
    finally:
        await client.close()


def test_many_threads_share_one_instance(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({f"dir/{number}": b"%d" % number for number in range(10)})

    def work(worker: int) -> None:
        for number in range(5):
            path = f"{bucket}/dir/{number}"
            assert fs.cat_file(path) == b"%d" % number
            assert fs.info(path)["size"] == 1
            assert len(fs.glob(f"{bucket}/dir/?")) == 10
            fs.pipe_file(f"{bucket}/of-{worker}/{number}", b"x")
            assert fs.exists(f"{bucket}/of-{worker}/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert len(fs.find(bucket)) == 10 + 40


def test_it_travels_to_a_spawned_process(make_fs: MakeFs, bucket: str, put: PutObjects) -> None:
    put({"a": b"content"})
    fs = make_fs(retry=POLICY)
    fs.ls(bucket)

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        content = pool.submit(methodcaller("cat_file", f"{bucket}/a"), fs).result()
        found = pool.submit(methodcaller("glob", f"{bucket}/*"), fs).result()

    assert (content, found) == (b"content", [f"{bucket}/a"])


# --- sync twins -----------------------------------------------------------------------------------


def overridden_coroutines() -> list[str]:
    return [
        name
        for kind in (AvroGlobFileSystem, ObjectLists)
        for name, value in vars(kind).items()
        if inspect.iscoroutinefunction(value) and hasattr(s3fs.S3FileSystem, name)
    ]


def frozen_twins() -> set[str]:
    """Names of coroutines whose twin is made when a class is, not for each instance."""
    return {
        f"_{name}"
        for kind in (s3fs.S3FileSystem, AsyncFileSystem)
        for name, value in vars(kind).items()
        if inspect.iscoroutinefunction(getattr(value, "__wrapped__", None))
    }


def test_there_are_frozen_twins_to_look_at() -> None:
    assert {"_find", "_isdir", "_call_s3"} <= frozen_twins()
    assert {"_find", "_isdir", "_call_s3", "_glob", "_info"} <= set(overridden_coroutines())


@pytest.mark.parametrize("name", overridden_coroutines())
def test_every_overridden_coroutine_has_a_twin_that_runs_it(
    fs: AvroGlobFileSystem, name: str
) -> None:
    twin = getattr(fs, name.removeprefix("_"), None)
    if name in frozen_twins():
        assert name.removeprefix("_") in vars(AvroGlobFileSystem)
    if twin is not None:
        own = inspect.getattr_static(AvroGlobFileSystem, name)
        assert inspect.unwrap(twin, stop=lambda function: function is own) is own


# --- what listings have told ----------------------------------------------------------------------

LISTINGS: dict[str, Callable[[AvroGlobFileSystem, str], object]] = {
    "ls": lambda fs, bucket: fs.ls(f"{bucket}/dir"),
    "find": lambda fs, bucket: fs.find(bucket),
    "glob": lambda fs, bucket: fs.glob(f"{bucket}/dir/k*"),
    "glob with detail": lambda fs, bucket: fs.glob(f"{bucket}/**/key", detail=True),
    "walk": lambda fs, bucket: list(fs.walk(bucket)),
}


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=list(LISTINGS))
def test_asking_about_a_listed_object_costs_no_request(
    proxy: FaultProxy,
    make_fs: MakeFs,
    bucket: str,
    put: PutObjects,
    listing: Callable[[AvroGlobFileSystem, str], object],
) -> None:
    put({"dir/key": b"content"})
    path = f"{bucket}/dir/key"
    other = make_fs()
    fs = make_fs(proxy.storage_options)
    listing(fs, bucket)
    proxy.clear()

    told = (
        fs.exists(path),
        fs.isfile(path),
        fs.isdir(path),
        fs.size(path),
        fs.checksum(path),
        fs.modified(path).replace(microsecond=0),
        fs.info(f"avroglob://{path}")["ETag"],
    )

    assert proxy.requests == []
    assert told == (
        True,
        True,
        False,
        7,
        other.checksum(path),
        other.modified(path),  # whole seconds, as HTTP dates are
        other.info(path)["ETag"],
    )


def test_opening_a_listed_object_costs_the_get_alone(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({"key": b"content"})
    fs = make_fs(proxy.storage_options)
    fs.glob(f"{bucket}/*")
    proxy.clear()

    with fs.open(f"{bucket}/key") as file:
        assert file.read() == b"content"

    assert [request.operation for request in proxy.requests] == ["GetObject"]


def test_a_listed_bucket_keeps_its_name(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"dir/key": b"1"})

    for pattern in ("**", "**/key", "*"):
        fs.glob(f"{bucket}/{pattern}", detail=True)

        assert fs.info(bucket)["name"] == bucket
        assert fs.isdir(bucket)


@pytest.mark.parametrize("pattern", ["*", "**", "dir*"])
def test_an_object_with_objects_below_it_is_a_directory_too(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, pattern: str
) -> None:
    put({"dir": b"1", "dir/key": b"2"})

    fs.glob(f"{bucket}/{pattern}")

    assert fs.isdir(f"{bucket}/dir")


def test_an_object_becomes_a_directory_when_something_is_written_below_it(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"dir": b"1"})
    fs.glob(f"{bucket}/*")

    with fs.open(f"{bucket}/dir/key", "wb") as file:
        file.write(b"2")

    assert fs.isdir(f"{bucket}/dir")


WRITES: dict[str, Callable[[AvroGlobFileSystem, str], object]] = {
    "pipe_file": lambda fs, path: fs.pipe_file(path, b"longer than before"),
    "touch": lambda fs, path: fs.touch(path),
    "open": lambda fs, path: write(fs, path),
    "cp_file": lambda fs, path: fs.cp_file(path + "-other", path),
    "rm_file": lambda fs, path: fs.rm_file(path),
    "rm": lambda fs, path: fs.rm([path]),
    "bulk delete": lambda fs, path: fs.call_s3(
        "delete_objects",
        Bucket=path.partition("/")[0],
        Delete={"Objects": [{"Key": path.partition("/")[2]}]},
    ),
    "multipart": lambda fs, path: fs.pipe_file(path, b"x" * 11 * 2**20, chunksize=5 * 2**20),
}


def write(fs: AvroGlobFileSystem, path: str) -> None:
    with fs.open(path, "wb") as file:
        file.write(b"longer than before")


@pytest.mark.parametrize("scheme", ["", "avroglob://"])
def test_its_own_writes_are_seen_after_a_listing(
    make_fs: MakeFs, bucket: str, put: PutObjects, scheme: str
) -> None:
    path = f"{bucket}/key"
    fs, other = make_fs(), make_fs(use_listings_cache=False)
    for name, change in WRITES.items():
        put({"key": b"before", "key-other": b"of the other"})
        fs.invalidate_cache()
        fs.glob(f"{bucket}/*")

        change(fs, path if name == "bulk delete" else scheme + path)

        assert (name, fs.exists(path)) == (name, other.exists(path))
        if other.exists(path):
            assert (name, fs.size(path)) == (name, other.size(path))
            assert fs.size(path) != len(b"before")


def test_what_others_wrote_is_seen_on_demand(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects
) -> None:
    put({"key": b"before"})
    path = f"{bucket}/key"
    fs.glob(f"{bucket}/*")
    put({"key": b"afterwards"})

    assert fs.size(path) == 6
    assert fs.info(path, refresh=True)["size"] == 10
    fs.invalidate_cache()
    assert fs.size(path) == 10


@pytest.mark.parametrize("options", [{"use_listings_cache": "false"}, {"version_aware": True}])
def test_without_listings_cache_nothing_is_remembered(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects, options: dict[str, Any]
) -> None:
    put({"key": b"1"})
    fs = make_fs(proxy.storage_options, **options)
    fs.glob(f"{bucket}/*")
    proxy.clear()

    fs.info(f"{bucket}/key", refresh=bool(options.get("version_aware")))

    assert proxy.count("HeadObject") == 1
    assert len(fs.memory) == 0
