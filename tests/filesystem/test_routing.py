"""Routing `s3://` through this package: in a process, and in an environment."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import permutations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import duckdb
import fsspec
import pandas as pd
import pytest
import s3fs
from fsspec.registry import _registry

from fsspec_avroglob import AvroGlobFileSystem, AvroGlobS3FileSystem, use_for_s3
from tests.conftest import PutObjects
from tests.support.servers import Endpoint

# s3fs refuses this option, so what takes it is served by this package.
OWN_OPTION = {"listing_concurrency": 4}

FRAMES = {f"dir/part-{i}.csv": pd.DataFrame({"n": [i, i + 10]}) for i in range(2)}


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Have changes of fsspec's registry undone."""
    before = dict(_registry)
    yield
    _registry.clear()
    _registry.update(before)


@pytest.fixture
def options(endpoint: Endpoint) -> dict[str, Any]:
    return {**endpoint.storage_options, **OWN_OPTION}


@pytest.fixture
def url(bucket: str, put: PutObjects) -> str:
    put({key: frame.to_csv(index=False).encode() for key, frame in FRAMES.items()})
    return f"s3://{bucket}/dir"


def s3_classes() -> list[str]:
    return [fsspec.get_filesystem_class(name).__name__ for name in ("s3", "s3a")]


# --- undoing --------------------------------------------------------------------------------------


def test_call_holds_until_undone() -> None:
    route = use_for_s3()
    assert s3_classes() == ["AvroGlobS3FileSystem"] * 2

    route.undo()
    route.undo()

    assert s3_classes() == ["S3FileSystem"] * 2


@pytest.mark.parametrize("before", [{}, {"s3": s3fs.S3FileSystem}, {"s3a": AvroGlobFileSystem}])
def test_block_restores_the_registry(before: dict[str, type]) -> None:
    for protocol in ("s3", "s3a"):
        _registry.pop(protocol, None)
    _registry.update(before)

    with contextlib.suppress(ZeroDivisionError), use_for_s3():
        assert s3_classes() == ["AvroGlobS3FileSystem"] * 2
        raise ZeroDivisionError

    assert {name: _registry[name] for name in ("s3", "s3a") if name in _registry} == before


def test_routes_may_end_in_any_order() -> None:
    for order in permutations(range(3)):
        routes = [use_for_s3() for _ in range(3)]
        for count, index in enumerate(order, 1):
            routes[index].undo()
            assert (s3_classes() == ["S3FileSystem"] * 2) == (count == 3), order


def test_later_registration_stays() -> None:
    class Other(s3fs.S3FileSystem):  # type: ignore[misc]  # s3fs has no types
        pass

    with use_for_s3():
        fsspec.register_implementation("s3", Other, clobber=True)

    assert s3_classes() == ["Other", "S3FileSystem"]


def test_threads_may_route_at_once() -> None:
    def route(_: int) -> str:
        with use_for_s3():
            return fsspec.get_filesystem_class("s3").__name__

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(route, range(200))) == {"AvroGlobS3FileSystem"}
    assert s3_classes() == ["S3FileSystem"] * 2


def test_earlier_instances_stay(endpoint: Endpoint) -> None:
    before = fsspec.filesystem("s3", **endpoint.storage_options)

    with use_for_s3():
        inside = fsspec.filesystem("s3", **endpoint.storage_options)
        assert type(before) is s3fs.S3FileSystem
        assert type(inside) is AvroGlobS3FileSystem

    assert fsspec.filesystem("s3", **endpoint.storage_options) is before
    assert type(inside) is AvroGlobS3FileSystem


# --- consumers in a process -----------------------------------------------------------------------


def test_pandas_is_served(url: str, options: dict[str, Any]) -> None:
    with use_for_s3():
        frame = pd.read_csv(f"{url}/part-0.csv", storage_options=options)
    pd.testing.assert_frame_equal(frame, FRAMES["dir/part-0.csv"])

    with pytest.raises(TypeError, match="listing_concurrency"):
        pd.read_csv(f"{url}/part-0.csv", storage_options=options)


def test_dask_workers_are_served(url: str, options: dict[str, Any]) -> None:
    with use_for_s3(), dask.config.set(scheduler="processes", num_workers=1):
        frame = dd.read_csv(f"{url}/part-*.csv", storage_options=options).compute()

    assert frame["n"].to_list() == [0, 10, 1, 11]


def test_duckdb_is_served(url: str, options: dict[str, Any]) -> None:
    with use_for_s3(), duckdb.connect() as connection:
        connection.register_filesystem(fsspec.filesystem("s3", **options))
        found = connection.sql(f"SELECT sum(n) FROM '{url}/part-*.csv'").fetchall()

    assert found == [(22,)]


def test_spawned_process_is_served() -> None:
    for initializer, expected in ((None, s3fs.S3FileSystem), (use_for_s3, AvroGlobS3FileSystem)):
        with ProcessPoolExecutor(1, get_context("spawn"), initializer) as pool:
            assert pool.submit(fsspec.get_filesystem_class, "s3").result() is expected


def test_protocol_option_chooses(url: str, options: dict[str, Any]) -> None:
    chosen = {**options, "protocol": "avroglob"}

    frame = pd.read_csv(f"{url}/part-0.csv", storage_options=chosen)
    frames = dd.read_csv(f"{url}/part-*.csv", storage_options=chosen)

    pd.testing.assert_frame_equal(frame, FRAMES["dir/part-0.csv"])
    assert frames["n"].sum().compute(scheduler="sync") == 22


@pytest.mark.consumers
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the cluster's sockets
def test_dask_config_serves_a_cluster() -> None:
    from distributed import Client, LocalCluster

    preload = ["import fsspec_avroglob; fsspec_avroglob.use_for_s3()"]
    with (
        dask.config.set({"distributed.worker.preload": preload}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        classes = client.run(fsspec.get_filesystem_class, "s3")

    assert list(classes.values()) == [AvroGlobFileSystem]


# --- an environment -------------------------------------------------------------------------------

ENTRY_POINTS = """\
[fsspec.specs]
s3 = fsspec_avroglob:AvroGlobFileSystem
s3a = fsspec_avroglob:AvroGlobFileSystem
"""

# Nothing in it knows of this package.
SCRIPT = """
import json, sys
import dask.dataframe, duckdb, fsspec, pandas

if __name__ == "__main__":
    url, options = sys.argv[1], json.loads(sys.argv[2])
    assert not any(name.startswith("fsspec_avroglob") for name in sys.modules)
    pandas_sum = int(pandas.read_csv(url + "/part-0.csv", storage_options=options)["n"].sum())
    frame = dask.dataframe.read_csv(url + "/part-*.csv", storage_options=options)
    names = frame.map_partitions(
        lambda part: part.assign(fs=fsspec.get_filesystem_class("s3a").__name__),
        meta={"n": "int64", "fs": "object"},
    ).compute(scheduler="processes", num_workers=1)["fs"]
    connection = duckdb.connect()
    connection.register_filesystem(fsspec.filesystem("s3", **options))
    duckdb_sum = connection.sql(f"SELECT sum(n) FROM '{url}/part-*.csv'").fetchall()[0][0]
    print(json.dumps([pandas_sum, sorted(set(names)), duckdb_sum]))
"""


def run_python(directory: Path, *arguments: str) -> str:
    """What a new interpreter prints, with *directory* on its path."""
    path = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    return subprocess.check_output([sys.executable, *arguments], text=True, env=environment)


def test_entry_points_serve_all_processes(
    tmp_path: Path, url: str, options: dict[str, Any]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    metadata = tmp_path / "s3_by_avroglob-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: s3-by-avroglob\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)

    served = json.loads(run_python(tmp_path, str(script), url, json.dumps(options)))
    (metadata / "entry_points.txt").unlink()
    ask = "import fsspec; print(fsspec.get_filesystem_class('s3').__name__)"
    without = run_python(tmp_path, "-c", ask)

    assert served == [10, ["AvroGlobFileSystem"], 22]
    assert without == "S3FileSystem\n"


def test_names_keep_their_scheme(url: str, options: dict[str, Any]) -> None:
    with use_for_s3():
        fs = fsspec.filesystem("s3", **options)
        name = f"{url}/part-0.csv"
        assert fs.unstrip_protocol(fs._strip_protocol(name)) == name
        assert fs.open(name).full_name == fsspec.open(name, **options).full_name == name
        assert json.loads(fs.to_json())["protocol"] == "s3"
    again = fsspec.AbstractFileSystem.from_json(fs.to_json())
    assert again.unstrip_protocol("bucket/key") == "s3://bucket/key"
    assert pickle.loads(pickle.dumps(fs)) is fs
    assert fsspec.filesystem("avroglob", **options).unstrip_protocol("b/k") == "avroglob://b/k"


def test_own_configuration_outranks_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    configured = {"s3": {"listing_concurrency": 3}, "avroglob": {"listing_concurrency": 5}}
    for protocol, values in configured.items():
        monkeypatch.setitem(fsspec.config.conf, protocol, values)
    for cls in (AvroGlobFileSystem, AvroGlobS3FileSystem):
        assert cls(anon=True, skip_instance_cache=True).config.listing_concurrency == 5


def test_duckdb_reads_each_object_once(url: str, options: dict[str, Any], put: PutObjects) -> None:
    with use_for_s3():
        fs = fsspec.filesystem("s3", **options, skip_instance_cache=True)
    connection = duckdb.connect()
    connection.register_filesystem(fs)
    # DuckDB keeps nothing of objects that were changed in the last seconds.
    connection.execute(f"FROM '{url}/*.csv'").fetchall()
    assert fs.stats.requests["PutObject"] == 0
    connection.execute(f"COPY (SELECT 1 a) TO '{url}/out.parquet'")
    assert fs.stats.requests["PutObject"] == 1
    assert fs.stats.requests["CreateMultipartUpload"] == 0
