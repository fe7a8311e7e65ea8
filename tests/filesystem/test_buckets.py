"""New buckets are located where the user wants them, on AWS and on other servers."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest

from fsspec_avroglob.filesystem.buckets import location_constraint
from tests.conftest import MakeFs
from tests.support.proxy import FaultProxy

AWS = "https://s3.eu-west-1.amazonaws.com"
OTHER = "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("url", "region", "stated", "expected"),
    [
        (AWS, "eu-west-1", None, "eu-west-1"),
        (AWS, "us-east-1", None, None),
        (AWS, "aws-global", None, None),
        (AWS, "eu-west-1", "ap-south-1", "ap-south-1"),
        (AWS, "eu-west-1", "us-east-1", None),
        (OTHER, "eu-west-1", None, None),
        (OTHER, "eu-west-1", "default", "default"),
    ],
)
def test_location_of_a_bucket(
    url: str, region: str, stated: str | None, expected: str | None
) -> None:
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url=url, region_name=region))
    assert location_constraint(client, stated) == expected


@pytest.mark.parametrize("region", ["us-east-1", None])
def test_mkdir_with_a_region(make_fs: MakeFs, region: str | None) -> None:
    fs, bucket = make_fs(region=region), f"test-{uuid4().hex}"
    fs.mkdir(bucket)
    try:
        assert fs.exists(bucket)
        with pytest.raises(FileExistsError, match="the bucket exists"):
            fs.mkdir(bucket)
    finally:
        fs.rmdir(bucket)


def test_mkdir_needs_no_right_to_look(make_fs: MakeFs, proxy: FaultProxy) -> None:
    fs, bucket = make_fs(proxy.storage_options), f"test-{uuid4().hex}"
    for operation in ("HeadBucket", "ListObjectsV2", "GetBucketLocation"):
        proxy.fail(operation, 403, "AccessDenied")
    fs.mkdir(bucket)
    proxy.clear()
    assert fs.exists(bucket)
    fs.rmdir(bucket)
