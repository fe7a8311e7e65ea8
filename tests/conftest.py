"""Fixtures for all tests: the S3 endpoint, buckets and objects, filesystems, the fault proxy."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from botocore.loaders import Loader, create_loader

from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint, Server, server_for
from tests.support.trees import TREE

if TYPE_CHECKING:
    import s3fs

    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

# The same examples each time, so that a new failure has a new cause. --hypothesis-profile=explore
# tries others. A busy machine may take any time for one of them.
PATIENT = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("repeat", PATIENT, derandomize=True)
hypothesis.settings.register_profile("explore", PATIENT, derandomize=False)
hypothesis.settings.load_profile("repeat")

PutObjects = Callable[[Mapping[str, bytes]], None]
MakeFs = Callable[..., "AvroGlobFileSystem"]


class LazyEndpoint:
    """Starts the chosen server when a test first asks for it, so that pure tests wait for none."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._endpoint: Endpoint | None = None

    def get(self) -> Endpoint:
        if self._endpoint is None:
            self._endpoint = self._server.start()
        return self._endpoint

    def stop(self) -> None:
        self._server.stop()


ENDPOINT = pytest.StashKey[LazyEndpoint]()

# How many tests were left out for each module that is not installed.
LACKING = pytest.StashKey[Counter[str]]()


class XdistController:
    """Hands the controller's endpoint to each xdist worker, and gets what they have left out."""

    def pytest_configure_node(self, node: Any) -> None:
        endpoint = node.config.stash[ENDPOINT].get()
        node.workerinput["s3_endpoint"] = (
            endpoint.url,
            endpoint.key,
            endpoint.secret,
            endpoint.region,
        )

    def pytest_testnodedown(self, node: Any) -> None:
        # Each worker collects the same tests.
        node.config.stash[LACKING] |= Counter(getattr(node, "workeroutput", {}).get("lacking", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["lacking"] = dict(session.config.stash[LACKING])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for module, count in config.stash[LACKING].items():
        terminalreporter.write_line(f"{count} tests left out: {module} is not installed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--s3",
        default="moto",
        metavar="SERVER",
        help="S3 server to test against: moto (default), rgw (a Ceph RGW started for the session) "
        "or the URL of an endpoint, http://key:secret@host:port",
    )

    parser.addoption(
        "--server-only",
        action="store_true",
        help="leave out the tests that ask no S3 server anything",
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Say how many workers `-n auto`, the default, starts: None leaves it to xdist.

    Suites of other projects and the slow consumers run in one process, as do single tests.
    """
    alone = config.option.markexpr in ("upstream", "consumers")
    return 0 if alone or any("::" in argument for argument in config.args) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        config.stash[LACKING].update(_lacking(item)[:1])
    _keep(config, items, lambda item: not _lacking(item))
    if config.getoption("--s3") != "rgw":
        _keep(config, items, lambda item: item.get_closest_marker("rgw") is None)
    if config.getoption("--server-only"):
        _keep(config, items, lambda item: "endpoint" in getattr(item, "fixturenames", ()))


def _keep(
    config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]
) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = filter(wanted, items)


def _lacking(item: pytest.Item) -> list[str]:
    """The modules that a test needs, by its marks, and that are not installed."""
    needed = dict.fromkeys(name for mark in item.iter_markers("needs") for name in mark.args)
    return [name for name in needed if not _installed(name)]


@functools.cache
def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LACKING] = Counter()
    # A shell's background jobs ignore interrupts, and so does all that they start: some tests would
    # wait for ever.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        return
    try:
        server = server_for(config.getoption("--s3"), dict(os.environ))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[ENDPOINT] = LazyEndpoint(server)
    _forget_aws_environment()
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(XdistController(), "avroglob-xdist-controller")


def pytest_unconfigure(config: pytest.Config) -> None:
    if ENDPOINT in config.stash:
        config.stash[ENDPOINT].stop()


def _forget_aws_environment() -> None:
    """Keep the developer's own AWS settings out of the tests and the processes that they start."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )


@pytest.fixture(scope="session", autouse=True)
def _service_descriptions_read_once() -> Iterator[None]:
    """Share botocore's descriptions of services, which take 0.1 s to read for each filesystem."""
    shared = create_loader()

    def loader(search_path: str | None = None) -> Loader:
        return create_loader(search_path) if search_path else shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", loader)
        yield


@pytest.fixture(scope="session")
def endpoint(pytestconfig: pytest.Config) -> Endpoint:
    """The S3 server chosen by `--s3`."""
    if hasattr(pytestconfig, "workerinput"):
        return Endpoint(*pytestconfig.workerinput["s3_endpoint"])
    return pytestconfig.stash[ENDPOINT].get()


@contextlib.contextmanager
def new_bucket(endpoint: Endpoint) -> Iterator[str]:
    """The name of a new, empty bucket, which is removed with its contents in the end."""
    name = f"test-{uuid.uuid4().hex}"
    endpoint.client().create_bucket(Bucket=name)
    yield name
    _remove_bucket(endpoint.client(), name)


@pytest.fixture
def bucket(endpoint: Endpoint) -> Iterator[str]:
    """The name of a new, empty bucket, which is removed with its contents after the test."""
    with new_bucket(endpoint) as name:
        yield name


def _remove_bucket(client: Any, name: str) -> None:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
            client.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for item in page.get("Uploads", []):
            client.abort_multipart_upload(Bucket=name, Key=item["Key"], UploadId=item["UploadId"])
    client.delete_bucket(Bucket=name)


@pytest.fixture
def put(endpoint: Endpoint, bucket: str) -> PutObjects:
    """A function that stores objects, given as key -> content, in `bucket`."""
    client = endpoint.client()

    def store(objects: Mapping[str, bytes]) -> None:
        for key, content in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=content)

    return store


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[FaultProxy]:
    """A proxy in front of `endpoint` that counts requests and injects faults."""
    with FaultProxy(endpoint) as running:
        yield running


@pytest.fixture
def make_fs(endpoint: Endpoint) -> MakeFs:
    """A factory for filesystems on `endpoint` that retry without waiting.

    `make_fs(storage_options, **options)`: both are laid over the endpoint's own options.
    """
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

    def make(
        storage_options: Mapping[str, Any] | None = None, **options: Any
    ) -> AvroGlobFileSystem:
        defaults = {"skip_instance_cache": True, "retry": {"base_delay": 0}}
        return AvroGlobFileSystem(
            **{**defaults, **endpoint.storage_options, **(storage_options or {}), **options}
        )

    return make


@pytest.fixture
def fs(make_fs: MakeFs) -> AvroGlobFileSystem:
    """A filesystem on `endpoint` that retries without waiting."""
    return make_fs()


@pytest.fixture(scope="module")
def shared_fs(endpoint: Endpoint) -> AvroGlobFileSystem:
    """A filesystem for all tests of a module, as a new one costs more than a glob."""
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

    return AvroGlobFileSystem(**endpoint.storage_options, skip_instance_cache=True)


@pytest.fixture
def no_cached_instances() -> Iterator[None]:
    """No instance of another test is found, and none of this test by another."""
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

    AvroGlobFileSystem.clear_instance_cache()
    yield
    AvroGlobFileSystem.clear_instance_cache()


@pytest.fixture
def counted(make_fs: MakeFs, proxy: FaultProxy) -> AvroGlobFileSystem:
    """A filesystem behind `proxy` that retries without waiting."""
    return make_fs(proxy.storage_options)


@pytest.fixture
def path(bucket: str, put: PutObjects) -> str:
    """The path of an object of 12 bytes."""
    put({"dir/key": b"some content"})
    return f"{bucket}/dir/key"


@pytest.fixture
def dask_threads() -> Iterator[None]:
    """Dask reads on threads, as a user's default does, but few of them."""
    import dask

    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.fixture(scope="module")
def reference(endpoint: Endpoint) -> s3fs.S3FileSystem:
    """S3fs, asking the server each time."""
    import s3fs

    return s3fs.S3FileSystem(
        **endpoint.storage_options, use_listings_cache=False, skip_instance_cache=True
    )


@pytest.fixture(scope="module")
def forest(reference: s3fs.S3FileSystem) -> Iterator[str]:
    """A bucket that holds TREE, for tests that only read."""
    name = f"test-{uuid.uuid4().hex}"
    reference.mkdir(name)
    reference.pipe({f"{name}/{key}": key.encode() for key in TREE})
    yield name
    reference.rm(name, recursive=True)
