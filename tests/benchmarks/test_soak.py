"""A quick soak: one in ten requests fails, and nothing is lost, repeated too often or left."""

from __future__ import annotations

from benchmarks.endpoint import SyntheticEndpoint
from benchmarks.soak import soak
from fsspec_avroglob import AvroGlobFileSystem
from tests.support.servers import Endpoint

ROUNDS = 12
# Which requests there are depends on when answers come. With these shares, one run in a thousand
# has a request that fails by chance six times; with the soak's own it would be one in fifty.
SHARES = {"fail": 0.06, "cut": 0.03, "drop": 0.01}


async def no_wait(seconds: float) -> None:
    pass


def test_faults_change_no_result() -> None:
    names = [f"d{i % 4}/part-{i:04}.avro" for i in range(1_000)]
    with SyntheticEndpoint({"bucket": names}) as server:
        server.configure(page_size=10)
        endpoint = Endpoint(server.url, "benchmarks", "benchmarks")
        straight = AvroGlobFileSystem(**endpoint.storage_options, skip_instance_cache=True)
        expected = sorted(f"bucket/{name}" for name in names)
        objects = straight.cat(expected[::100])

        report = soak(
            endpoint,
            objects,
            expected,
            "bucket/d*/part-*.avro",
            lambda report: report.rounds < ROUNDS,
            wait=no_wait,
            code="ServiceUnavailable",
            shares=SHARES,
        )

    assert report.failures == []
    assert report.sound
    assert report.rounds == ROUNDS
    assert report.requests["ListObjectsV2"] > ROUNDS * 100
    assert report.checked_bytes == ROUNDS * sum(map(len, objects.values()))
    assert set(report.retries) >= {"server error", "connection", "truncated"}
