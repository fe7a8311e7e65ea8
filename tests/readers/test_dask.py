"""fsspec_avroglob.dask: tables in partitions, equal to what the readers give in one process."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pytest
from distributed import Client, LocalCluster, as_completed, futures_of

import fsspec_avroglob
from fsspec_avroglob.avro.container import parse_header
from fsspec_avroglob.dask import read_avro, to_avro
from fsspec_avroglob.readers.sources import ResolvedSources, SourceFile
from tests.conftest import PutObjects
from tests.support.avro_data import USER_SCHEMA, avro_file, user_file, users
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

pytestmark = pytest.mark.usefixtures("dask_threads")

ROWS = 40


@pytest.fixture
def days(tmp_path: Path) -> str:
    """Six files in directories of days, one of them larger than the others."""
    for day in range(6):
        directory = tmp_path / f"year=2024/day={day}"
        directory.mkdir(parents=True)
        rows = ROWS * (20 if day == 2 else 1)
        (directory / "x.avro").write_bytes(user_file(rows, 1000 * day, block_bytes=200))
    return f"{tmp_path}/year=*/day=*/*.avro"


def test_frame_equals_one_process(days: str) -> None:
    df = read_avro(days, include_file_paths="file")

    expected = fsspec_avroglob.read_avro(days, include_file_paths="file")
    pd.testing.assert_frame_equal(df.compute().reset_index(drop=True), expected)
    pd.testing.assert_series_equal(df.dtypes, expected.dtypes)


@pytest.mark.parametrize("blocksize", [600, "2 kB", "64 MiB", None])
def test_partitions_have_each_row_once(days: str, blocksize: Any) -> None:
    df = read_avro(days, blocksize=blocksize)

    expected = fsspec_avroglob.read_avro(days)
    pd.testing.assert_frame_equal(df.compute().reset_index(drop=True), expected)


def test_files_group_and_divide(days: str) -> None:
    assert read_avro(days).npartitions == 1
    assert read_avro(days, blocksize=None).npartitions == 6
    assert read_avro(days, blocksize=2000).npartitions > 6


@pytest.fixture
def twelve_mebibytes() -> ResolvedSources:
    """Three files, of which nothing is read: worth two partitions, not three."""
    header = parse_header(user_file(1))
    files = tuple(SourceFile(f"{n}.avro", header, 4 << 20, None) for n in range(3))
    return ResolvedSources(files, header.schema, (None,) * 3, ({},) * 3)


def test_few_bytes_go_to_all_threads(
    twelve_mebibytes: ResolvedSources,
) -> None:
    for threads, partitions in [(1, 1), (2, 2), (100, 2)]:
        with dask.config.set(num_workers=threads):
            df = read_avro(twelve_mebibytes)
            assert df.npartitions == partitions
            assert df._name == read_avro(twelve_mebibytes)._name
            assert read_avro(twelve_mebibytes, blocksize="64 MiB").npartitions == 1


def test_meta_needs_no_rows(bucket: str, put: PutObjects, proxy: FaultProxy) -> None:
    put({f"{n}.avro": user_file(20_000, block_bytes=50_000) for n in range(3)})
    df = read_avro(f"avroglob://{bucket}/*.avro", storage_options=proxy.storage_options)

    assert [str(dtype) for dtype in df.dtypes] == ["int64", str(pd.Series(["x"]).dtype), "float64"]
    assert (proxy.count("ListObjectsV2"), proxy.count("GetObject")) == (1, 3)


def test_unwanted_columns_are_skipped(days: str) -> None:
    df = read_avro(days, blocksize=2000)

    read = df[df["score"] > 3]["id"].sum().optimize(fuse=False)
    assert [sorted(columns) for columns in _columns_read(read)] == [["id", "score"]]
    assert df[["score", "day"]].optimize(fuse=False).compute().columns.tolist() == ["score", "day"]
    assert _columns_read(df.index.size.optimize(fuse=False)) == [[]]
    assert len(df) == ROWS * 25


def _columns_read(collection: Any) -> list[list[str]]:
    reads = collection.expr.walk()
    return [list(e.columns) for e in reads if type(e).__name__ == "_ReadAvro"]


@pytest.mark.parametrize(
    ("condition", "days_read"),
    [
        (lambda df: df["day"] == 3, 1),
        (lambda df: df["day"] >= 4, 2),
        (lambda df: (df["day"] < 2) | (df["day"] == 5), 3),
        (lambda df: (df["day"] != 0) & (df["id"] >= 0), 5),
        (lambda df: df["day"].isin([1, 2]), 6),
        (lambda df: (df["year"] == 2023) | (df["id"] == 1000), 6),
        (lambda df: df["day"] == 3.0, 6),
    ],
)
def test_comparison_rules_files_out(
    bucket: str, put: PutObjects, proxy: FaultProxy, condition: Any, days_read: int
) -> None:
    put({f"year=2024/day={day}/x.avro": user_file(30, 1000 * day) for day in range(6)})
    url = f"avroglob://{bucket}/year=*/day=*/x.avro"
    df = read_avro(url, blocksize=None, storage_options=proxy.storage_options)
    whole = fsspec_avroglob.read_avro(url, storage_options=proxy.storage_options)
    proxy.clear()

    found = df[condition(df)].compute()

    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), whole[condition(whole)].reset_index(drop=True)
    )
    assert proxy.count("GetObject") == days_read


def test_filters_spare_listings(bucket: str, put: PutObjects, proxy: FaultProxy) -> None:
    put({f"day={day}/x.avro": user_file(30, 1000 * day) for day in range(6)})
    df = read_avro(
        f"avroglob://{bucket}/day=*/x.avro",
        filters=[("day", "=", 3)],
        storage_options=proxy.storage_options,
    )

    assert df["id"].min().compute() == 3000
    assert proxy.count("GetObject") == 2


def test_task_names_are_stable(tmp_path: Path) -> None:
    path = tmp_path / "x.avro"
    path.write_bytes(user_file(10))
    first = read_avro(path)

    assert read_avro(path)._name == first._name
    assert read_avro(path, columns=["id"])._name != first._name
    path.write_bytes(user_file(11))
    assert read_avro(path)._name != first._name


def test_graph_holds_no_file_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.avro"
    path.write_bytes(user_file(2000, block_bytes=500))

    assert len(pickle.dumps(read_avro(path))) < path.stat().st_size / 2


def test_no_rows_make_an_empty_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.avro"
    path.write_bytes(user_file(0))

    assert read_avro(path).compute().columns.tolist() == ["id", "name", "score"]
    assert len(read_avro(path)) == 0


def test_unknown_columns_are_refused(days: str) -> None:
    with pytest.raises(ValueError, match="no column 'nmae'"):
        read_avro(days, columns=["nmae"])


def test_partitions_become_files(endpoint: Endpoint, bucket: str) -> None:
    frame = pd.DataFrame({"n": range(100), "text": [f"t{n}" for n in range(100)]})
    df = dd.from_pandas(frame, npartitions=4)
    url = f"avroglob://{bucket}/out/part-*.avro"

    names = to_avro(df, url, storage_options=endpoint.storage_options)

    assert names == [f"avroglob://{bucket}/out/part-{n:05}.avro" for n in range(4)]
    again = read_avro(url, storage_options=endpoint.storage_options).compute()
    pd.testing.assert_frame_equal(
        again.reset_index(drop=True), frame, check_dtype=False, check_column_type=False
    )


def test_unwritable_frame_writes_nothing(tmp_path: Path) -> None:
    with dask.config.set({"dataframe.convert-string": False}):
        df = dd.from_pandas(pd.DataFrame({"n": [1, 2], "x": [b"a", b"b"]}), npartitions=1)

    with pytest.raises(ValueError, match=r"one \*"):
        to_avro(df, tmp_path / "x.avro")
    with pytest.raises(ValueError, match="'x' have dtype object"):
        to_avro(df, tmp_path / "*.avro")
    assert not list(tmp_path.iterdir())


def test_cluster_survives_a_lost_worker(
    bucket: str, put: PutObjects, proxy: FaultProxy, twelve_mebibytes: ResolvedSources
) -> None:
    files = {
        f"{n:02}.avro": avro_file(users(500, 500 * n), USER_SCHEMA, block_bytes=1000)
        for n in range(12)
    }
    put(files)
    proxy.delay(0.05, "GetObject")
    url = f"avroglob://{bucket}/*.avro"
    expected = fsspec_avroglob.read_avro(url, storage_options=proxy.storage_options)
    df = read_avro(url, blocksize=5000, storage_options=proxy.storage_options)
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        assert len(client.run(os.getpid)) == 2
        with dask.config.set(num_workers=1):
            assert read_avro(twelve_mebibytes).npartitions == 2
        held = df.persist()
        next(as_completed(futures_of(held)))
        os.kill(client.run(os.getpid).popitem()[1], signal.SIGKILL)
        found = held.assign(k=held["id"] % 7).groupby("k").sum(numeric_only=True).compute()
    sums = expected.assign(k=expected["id"] % 7).groupby("k").sum(numeric_only=True)
    pd.testing.assert_frame_equal(found.sort_index(), sums, check_dtype=False)
