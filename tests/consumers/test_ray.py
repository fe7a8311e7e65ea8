"""Ray Data: its calls of the consumer table, and datasets of this package's own.

Ray's own servers listen on all addresses, whatever address its node is given: they are guarded by a
token here, and these tests have a file of their own.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator

import pytest

from fsspec_avroglob.cli.demo import DemoServer, write_sample_events
from tests.conftest import PutObjects
from tests.consumers.conftest import CheckCall
from tests.consumers.heavy_libraries import RAY
from tests.consumers.matrix import Call
from tests.support.avro_data import user_file
from tests.support.examples import ROOT, Stage, run_python
from tests.support.proxy import FaultProxy
from tests.support.servers import LOOPBACK

pytestmark = [
    pytest.mark.consumers,
    # Ray warns of its own settings, and leaves files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def ray_node() -> Iterator[None]:
    """A Ray of one CPU; its sockets need a shorter path than pytest's directories have."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        ray.init(
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=80_000_000,
            _node_ip_address=LOOPBACK,
            _temp_dir=directory,
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.mark.usefixtures("ray_node")
@pytest.mark.parametrize("call", RAY.calls, ids=range(len(RAY.calls)))
def test_call(call: Call, check_call: CheckCall) -> None:
    check_call(RAY, call)


@pytest.mark.usefixtures("ray_node")
def test_dataset_has_each_row_once(bucket: str, put: PutObjects, proxy: FaultProxy) -> None:
    from fsspec_avroglob.ray import read_avro

    put({f"day={n}/x.avro": user_file(40, 100 * n, block_bytes=200) for n in range(3)})
    urls, options = f"avroglob://{bucket}/day=*/*.avro", proxy.storage_options
    for blocksize, reads in ((1 << 20, 3), (None, 3), (600, None)):
        proxy.clear()
        dataset = read_avro(urls, options, ["id", "day"], blocksize)
        assert (proxy.count("ListObjectsV2"), proxy.count("GetObject")) == (1, 3)

        found = dataset.to_pandas().sort_values("id")

        assert found["id"].to_list() == [100 * n + row for n in range(3) for row in range(40)]
        assert found["day"].to_list() == [n for n in range(3) for _ in range(40)]
        assert proxy.count("HeadObject") == 0
        assert reads is None or proxy.count("GetObject") == 3 + reads


@pytest.mark.usefixtures("ray_node")
def test_documentation_is_current() -> None:
    with DemoServer() as server:
        write_sample_events({**server.storage_options, "skip_instance_cache": True})
        run_python(ROOT / "docs/how-to/ray.md", Stage.of_demo(server))
