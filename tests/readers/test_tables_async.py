"""Coroutines read the same, what is abandoned or cancelled ends, and progress is reported."""

from __future__ import annotations

import asyncio
import threading
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from fsspec.callbacks import Callback

from fsspec_avroglob.readers.read import (
    aiter_avro_batches,
    aiter_avro_records,
    iter_avro_batches,
    read_avro_async,
    read_avro_table,
    read_avro_table_async,
)
from tests.conftest import PutObjects
from tests.support.avro_data import (
    user_file,
    users,
)
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint


async def test_coroutines_give_the_same(put: PutObjects, bucket: str, endpoint: Endpoint) -> None:
    put({f"{n}.avro": user_file(5, 5 * n) for n in range(4)})
    url, options = f"s3://{bucket}/*.avro", endpoint.storage_options

    assert (await read_avro_table_async(url, options)).to_pylist() == users(20)
    assert (await read_avro_async(url, options))["id"].tolist() == list(range(20))
    batches = aiter_avro_batches(url, options, batch_size=8)
    assert [batch.num_rows async for batch in batches] == [8, 8, 4]
    assert [record async for record in aiter_avro_records(url, options)] == users(20)


async def test_dropped_iterator_can_close(lake: str) -> None:
    batches = aiter_avro_batches(lake, batch_size=1)
    await anext(batches)

    await batches.aclose()

    with pytest.raises(StopAsyncIteration):
        await anext(batches)


async def test_closed_iterator_reads_nothing(lake: str) -> None:
    for items in (aiter_avro_batches(lake), aiter_avro_records(lake)):
        await items.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_tasks_share_an_iterator(lake: str) -> None:
    batches, records = aiter_avro_batches(lake, batch_size=1), aiter_avro_records(lake)
    all_have_one = asyncio.Barrier(3)

    async def ids() -> list[int]:
        return [batch["id"][0].as_py() async for batch in batches]

    async def names() -> list[str]:
        first = await anext(records)
        await all_have_one.wait()
        return [first["name"], *[record["name"] async for record in records]]

    found = await asyncio.gather(ids(), ids(), ids())
    named = await asyncio.gather(names(), names(), names())

    assert sorted(chain(*found)) == list(range(40))
    assert sorted(chain(*named)) == sorted(user["name"] for user in users(40))


async def test_cancelled_step_is_not_the_end(
    lake: str,
) -> None:
    batches = aiter_avro_batches(lake, batch_size=1)
    await anext(batches)
    step = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    step.cancel()

    with pytest.raises(asyncio.CancelledError):
        await step
    with pytest.raises(RuntimeError, match="was cancelled"):
        await anext(batches)
    await batches.aclose()


async def test_records_report_what_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(b"no Avro")
    (tmp_path / "b.avro").write_bytes(user_file(2))
    records = aiter_avro_records(f"{tmp_path}/*", ignore_errors=True)

    assert [record async for record in records] == users(2)
    assert [error.path for error in records.errors] == [f"{tmp_path}/a.avro"]


async def test_cancelled_read_ends(put: PutObjects, bucket: str, proxy: FaultProxy) -> None:
    put({"x.avro": user_file(5)})
    options = {**proxy.storage_options, "skip_instance_cache": True}
    proxy.fail("GetObject", times=None)
    options["retry"] = {"base_delay": 30, "jitter": 0}

    reading = asyncio.create_task(read_avro_table_async(f"s3://{bucket}/x.avro", options))
    while not proxy.count("GetObject"):
        assert not reading.done()
        await asyncio.sleep(0)
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading


def test_no_thread_is_left(lake: str) -> None:
    read_avro_table(lake)
    batches = iter_avro_batches(lake, batch_size=1)
    next(batches)
    batches.close()

    assert [t.name for t in threading.enumerate() if "avroglob" in t.name] == []


def test_a_callback_receives_the_size_of_each_read(tmp_path: Path) -> None:
    content = user_file(10_000)
    for name in ("x.avro", "y.avro"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "z.avro").write_bytes(user_file(0))
    callback = Callback()

    read_avro_table(f"{tmp_path}/*", progress=callback)

    assert callback.size == callback.value == 2 * len(content) + len(user_file(0))


def test_progress_shows_files_and_bytes(lake: str, capsys: Any) -> None:
    read_avro_table(lake, progress=True)

    assert "4 of 4 files" in capsys.readouterr().err
