"""Access points: a bucket may be an ARN, which holds a slash."""

from __future__ import annotations

import pytest

from fsspec_avroglob import AvroGlobFileSystem, parse_s3_glob_uri

ARNS = (
    "arn:aws:s3:us-east-1:123456789012:accesspoint/mine",
    "arn:aws:s3:us-east-1:123456789012:accesspoint:mine",
    "arn:aws:s3-outposts:us-east-1:123456789012:outpost/op-1/accesspoint/mine",
    "arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/mine",
)


@pytest.mark.parametrize("arn", ARNS)
def test_patterns_below_an_arn(arn: str) -> None:
    fs = AvroGlobFileSystem(anon=True)
    [plan] = fs.explain(f"s3://{arn}/dir/*/a{{1,2}}.csv").plans
    assert plan.bucket == arn
    assert plan.keeps_file("dir/x/a1.csv")
    assert not plan.keeps_file("mine/dir/x/a1.csv")
    [plan] = fs.explain(f"{arn}/dir/*", start_after=f"{arn}/dir/b").plans
    assert plan.after == "dir/b"


@pytest.mark.parametrize("arn", ARNS)
def test_uri_of_an_arn(arn: str) -> None:
    assert parse_s3_glob_uri(f"s3://{arn}/dir/*.csv") == (arn, "dir/", "dir/*.csv")
