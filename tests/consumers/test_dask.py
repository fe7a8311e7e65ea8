"""dask.dataframe reads globs by `avroglob://` URL."""

from __future__ import annotations

import io

import dask.dataframe as dd
import pandas as pd
import pytest

from tests.conftest import PutObjects
from tests.support.servers import Endpoint

pytestmark = pytest.mark.usefixtures("dask_threads")

PARTS = [
    pd.DataFrame({"hour": [hour] * 3, "value": [hour * 10 + i for i in range(3)]})
    for hour in range(4)
]


def test_csv_glob_is_one_frame(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({f"day/hour={i}/part.csv": p.to_csv(index=False).encode() for i, p in enumerate(PARTS)})
    put({"day/hour=0/part.txt": b"not csv", "day/part.csv": b"other,columns\n1,2\n"})

    frame = dd.read_csv(
        f"avroglob://{bucket}/day/hour=*/*.csv", storage_options=endpoint.storage_options
    )

    assert frame.npartitions == len(PARTS)
    expected = pd.concat(PARTS, ignore_index=True)
    pd.testing.assert_frame_equal(frame.compute().reset_index(drop=True), expected)


def test_parquet_glob_is_one_frame(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    for i, part in enumerate(PARTS):
        buffer = io.BytesIO()
        part.to_parquet(buffer)
        put({f"day/part-{i}.parquet": buffer.getvalue()})
    put({"day/_SUCCESS": b""})

    frame = dd.read_parquet(
        f"avroglob://{bucket}/day/part-[0-2]*.parquet", storage_options=endpoint.storage_options
    )

    expected = pd.concat(PARTS[:3], ignore_index=True)
    pd.testing.assert_frame_equal(frame.compute().reset_index(drop=True), expected)
