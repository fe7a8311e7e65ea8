"""Ray Data's calls of the consumer table.

Ray's own servers listen on all addresses, whatever address its node is given: they are guarded by a
token here, and these tests have a file of their own.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator

import pytest

from tests.consumers.conftest import CheckCall
from tests.consumers.heavy_libraries import RAY
from tests.consumers.matrix import Call
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
