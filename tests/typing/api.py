"""What type checkers know of the public names. Checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, assert_type

from fsspec_avroglob import (
    AvroBatches,
    AvroGlobError,
    AvroGlobFileSystem,
    AvroRecords,
    NotAvroError,
    RetryEvent,
    RetryPolicy,
    S3Config,
    S3Route,
    aiter_avro_records,
    expand_path,
    is_retryable,
    iter_avro_batches,
    iter_avro_records,
    read_avro_table_async,
    use_for_s3,
    with_retry,
)


async def number() -> int:
    return 1


def on_retry(event: RetryEvent) -> None:
    assert_type(event.operation, str)
    assert_type(event.retry, int)
    assert_type(event.cause, str)
    assert_type(event.wait_s, float)
    assert_type(event.elapsed_s, float)
    assert_type(event.error, BaseException)


async def retrying(options: Mapping[str, Any]) -> None:
    assert_type(await with_retry(number), int)
    assert_type(await with_retry(number, RetryPolicy(), name="count", on_retry=on_retry), int)
    await with_retry(number, 3)
    await with_retry(number, {"max_retries": 3})
    await with_retry(number, None)
    await with_retry(3)  # type: ignore[arg-type]
    await with_retry(number, object())  # type: ignore[arg-type]


def policies() -> None:
    policy = RetryPolicy(max_retries=2, base_delay=1, multiplier=2, max_delay=30, timeout=None)
    assert_type(policy.backoff(1), float)
    assert_type(policy.max_retries, int)
    assert_type(policy.timeout, float | None)
    assert_type(RetryPolicy.from_value("3"), RetryPolicy)
    assert_type(policy.to_dict(), dict[str, Any])
    policy.max_retries = 3  # type: ignore[misc]
    assert_type(is_retryable(TimeoutError()), bool)


def configurations(options: Mapping[str, Any]) -> None:
    config = S3Config.from_storage_options(options)
    assert_type(config, S3Config)
    assert_type(config.endpoint_url, str | None)
    assert_type(config.anon, bool)
    assert_type(config.retry, RetryPolicy)
    assert_type(config.max_retries, int)
    assert_type(config.s3fs_options(), dict[str, Any])
    S3Config.from_storage_options(None)


def filesystems(options: Mapping[str, Any]) -> None:
    fs = AvroGlobFileSystem(endpoint_url="http://h", max_retries=1, retry=RetryPolicy())
    assert_type(fs.retry_policy, RetryPolicy)
    assert_type(fs.config, S3Config)
    assert_type(fs.iglob("b/*"), Iterator[Any])
    assert_type(use_for_s3(), S3Route)
    with use_for_s3() as route:
        assert_type(route, S3Route)


async def readers(options: Mapping[str, Any]) -> None:
    assert_type(expand_path("s3://b/*.avro"), list[str])
    assert_type(iter_avro_batches("x.avro", batch_size=10, hive=False), AvroBatches)
    assert_type(iter_avro_records("x.avro", options, ["id"], n_rows=1), AvroRecords)
    await read_avro_table_async("x.avro", options, engine="fastavro")
    assert_type([one async for one in aiter_avro_records("x.avro", glob=False)], list[Any])
    iter_avro_records("x.avro", engine="fastavro")  # type: ignore[call-arg]
    await read_avro_table_async("x.avro", engin="fastavro")  # type: ignore[call-arg]
    aiter_avro_records("x.avro", n_rows="1")  # type: ignore[arg-type]


def errors(error: NotAvroError) -> AvroGlobError:
    return error
