"""What a filesystem is given: options of every kind, and copies that have the same ones."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from operator import methodcaller
from typing import Any

import fsspec
import pytest
from fsspec.config import conf
from fsspec.spec import AbstractFileSystem

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.retry import RetryPolicy
from tests.conftest import MakeFs, PutObjects
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

pytestmark = pytest.mark.usefixtures("no_cached_instances")


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


def test_options_may_be_positional(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({"a": b"1"})

    fs = AvroGlobFileSystem(False, endpoint.url, endpoint.key, endpoint.secret, max_retries=1)

    assert fs.ls(bucket) == [f"{bucket}/a"]
    assert fs.config.key == endpoint.key
    assert pickle.loads(pickle.dumps(fs)).ls(bucket) == [f"{bucket}/a"]


def test_positional_options_are_checked() -> None:
    with pytest.raises(TypeError):
        AvroGlobFileSystem(True, anon=False)
    with pytest.raises(TypeError):
        AvroGlobFileSystem(*[None] * 40)


def test_other_tools_names_work(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({"a": b"1"})

    fs = AvroGlobFileSystem(
        AWS_ENDPOINT_URL=endpoint.url,
        AWS_ACCESS_KEY_ID=endpoint.key,
        AWS_SECRET_ACCESS_KEY=endpoint.secret,
        AWS_REGION=endpoint.region,
    )

    assert fs.ls(bucket) == [f"{bucket}/a"]


def test_options_beat_the_environment(
    endpoint: Endpoint, bucket: str, put: PutObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    put({"a": b"1"})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    assert AvroGlobFileSystem(**endpoint.storage_options).ls(bucket) == [f"{bucket}/a"]


@pytest.mark.parametrize("protocol", ["avroglob", "s3"])
def test_fsspec_config_applies(
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


def test_options_beat_fsspec_config(
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


def test_anon_is_not_signed(
    proxy: FaultProxy, make_fs: MakeFs, bucket: str, put: PutObjects
) -> None:
    put({"a": b"1"})
    fs = make_fs(proxy.storage_options, anon="true")

    for call in (fs.ls, fs.find, fs.exists):
        with contextlib.suppress(PermissionError):
            call(f"{bucket}/a")

    assert proxy.requests
    assert not any("authorization" in request.headers for request in proxy.requests)


def test_requester_pays_goes_everywhere(
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
def test_copy_works(
    make_fs: MakeFs, bucket: str, put: PutObjects, copy: Callable[[AvroGlobFileSystem], Any]
) -> None:
    put({"a": b"1"})
    fs = make_fs(retry=POLICY, listing_concurrency="8", use_listings_cache=False)

    assert copy(fs).glob(f"{bucket}/*") == [f"{bucket}/a"]


@copiers
@pytest.mark.parametrize(
    "retry", [POLICY, RetryPolicy(), POLICY.to_dict(), {"max_retries": 4}, 4, None], ids=repr
)
def test_copy_has_same_config(
    make_fs: MakeFs, copy: Callable[[AvroGlobFileSystem], Any], retry: Any
) -> None:
    fs = make_fs(retry=retry, listing_concurrency="8", use_listings_cache=False)

    copied = copy(fs)

    assert type(copied) is AvroGlobFileSystem
    assert copied.config == fs.config
    assert copied.retry_policy == RetryPolicy.from_value(retry)
    assert not copied.listings.enabled


def test_pickled_copy_is_equal(endpoint: Endpoint) -> None:
    fs = AvroGlobFileSystem(**endpoint.storage_options, retry=POLICY)
    fs.to_json()
    AvroGlobFileSystem.clear_instance_cache()

    copied = copy_by_pickle(fs)

    assert copied is not fs
    assert copied == fs


@copiers
def test_none_options_survive_copying(
    make_fs: MakeFs, copy: Callable[[AvroGlobFileSystem], Any]
) -> None:
    fs = make_fs(token=None, retry={"timeout": None}, client_kwargs=None)

    assert copy(fs).config == fs.config


@copiers
def test_positional_options_survive_copy(
    endpoint: Endpoint, copy: Callable[[AvroGlobFileSystem], Any]
) -> None:
    fs = AvroGlobFileSystem(False, endpoint.url, endpoint.key, endpoint.secret, retry=POLICY)

    assert copy(fs).config == fs.config


@copiers
def test_copy_ignores_other_config(
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


def test_spawned_process_reads(make_fs: MakeFs, bucket: str, put: PutObjects) -> None:
    put({"a": b"content"})
    fs = make_fs(retry=POLICY)
    fs.ls(bucket)

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        content = pool.submit(methodcaller("cat_file", f"{bucket}/a"), fs).result()
        found = pool.submit(methodcaller("glob", f"{bucket}/*"), fs).result()

    assert (content, found) == (b"content", [f"{bucket}/a"])


def test_open_file_pickles(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"a": b"content"})
    with fs.open(f"{bucket}/a") as file:
        file.read(3)
        with pickle.loads(pickle.dumps(file)) as copied:
            assert copied.read() == b"tent"


def test_same_options_same_instance(endpoint: Endpoint) -> None:
    options = {**endpoint.storage_options, "retry": POLICY}

    assert AvroGlobFileSystem(**options) is AvroGlobFileSystem(**options)
    assert AvroGlobFileSystem(**options) is not AvroGlobFileSystem(**{**options, "retry": 1})


def test_repr_hides_credentials(make_fs: MakeFs) -> None:
    fs = make_fs(key="AKIA-nowhere", secret="s3cr3t-nowhere", token="t0ken-nowhere")

    shown = f"{fs!r} {fs} {fs.config!r} {fs.retry_policy!r}"

    assert "nowhere" not in shown
