"""How bytes are sent without copies, and how answers arrive: a minimum speed."""

from __future__ import annotations

import asyncio
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.s3.transport import MinimumSpeed, RequestBody
from tests.support.virtual_time import run_in_virtual_time


def receive(pause_s: float, chunk: bytes, count: int, *, between_s: float = 0.0) -> int:
    """Read chunks that come after a pause each; return the virtual seconds."""

    async def next_chunk() -> bytes:
        await asyncio.sleep(pause_s)
        return chunk

    async def main() -> int:
        loop = asyncio.get_running_loop()
        speed = MinimumSpeed(loop.time)
        for _ in range(count):
            await speed.read(next_chunk())
            await asyncio.sleep(between_s)
        return round(loop.time())

    return run_in_virtual_time(main)


def test_trickle_times_out() -> None:
    with pytest.raises(TimeoutError, match="10 bytes arrived in 30 s: less than 1,024 bytes"):
        receive(3, b"x", 1_000)


def test_slow_but_steady_arrives() -> None:
    assert receive(3, bytes(4_000), 100) == 300


def test_trickle_after_a_burst_times_out() -> None:
    async def main() -> None:
        async def chunk(size: int, after_s: float) -> bytes:
            await asyncio.sleep(after_s)
            return bytes(size)

        speed = MinimumSpeed(asyncio.get_running_loop().time)
        await speed.read(chunk(10**6, 0.1))
        for _ in range(70):
            await speed.read(chunk(1, 1))

    with pytest.raises(TimeoutError):
        run_in_virtual_time(main)


def test_pauses_of_the_reader_do_not_count() -> None:
    assert receive(0.01, b"x", 100, between_s=60) == 6_001


def test_end_is_never_too_slow() -> None:
    assert receive(40, b"", 1) == 40


@given(st.binary(max_size=20), st.lists(st.integers(-1, 25) | st.none()), st.integers(0, 25))
def test_body_reads_as_bytesio(data: bytes, sizes: list[int | None], start: int) -> None:
    body, twin = RequestBody(data), BytesIO(data)
    assert body.seek(start) == twin.seek(start)
    for size in sizes:
        assert body.read(size) == twin.read(size)
        assert body.tell() == twin.tell()
    body.seek(0)
    assert body.read() == data


def test_body_is_not_copied() -> None:
    data = bytes(1000)
    body = RequestBody(data)
    with body.getbuffer() as view:  # as aiohttp does
        assert view.obj is data
    assert body.read(10).obj is data
    assert body.read().obj is data
