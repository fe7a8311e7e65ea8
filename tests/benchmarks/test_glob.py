"""`python -m benchmarks glob` counts the requests of both filesystems."""

from __future__ import annotations

import pytest

from benchmarks.glob import main
from tests.conftest import PutObjects
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint


@pytest.fixture(autouse=True)
def _keys(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", endpoint.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", endpoint.secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", endpoint.region)


def test_counts_the_requests_of_both(
    bucket: str, put: PutObjects, proxy: FaultProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    put({f"{a}/{b}/x": b"" for a in "abc" for b in "de"})
    pattern = f"s3://{bucket}/*/{{d,e}}/x"
    assert main([pattern, "--repeat", "2", "--endpoint-url", proxy.url]) == 0
    _, _, ours, theirs = (line.split(" | ") for line in capsys.readouterr().out.splitlines())
    assert ours[1] == theirs[1] == "6"
    assert proxy.count("ListObjectsV2") == 2 * (int(ours[2]) + int(theirs[2]))


def test_gives_up_in_time(
    bucket: str, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--timeout", "0.000001", "--endpoint-url", endpoint.url]
    assert main([f"s3://{bucket}/*/*", *arguments]) == 0
    assert capsys.readouterr().out.count("cut off") == 2
