"""What the command line says when the storage refuses."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from tests.support.command import Cli
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint


def test_options_may_come_first(
    cli: Cli, tree: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    before = cli("--endpoint-url", endpoint.url, "ls", f"s3://{tree}/a/x*")
    after = cli("ls", "--endpoint-url", endpoint.url, f"s3://{tree}/a/x*")
    assert before == after == (0, f"s3://{tree}/a/x.txt\n", "")


def test_ls_lists_a_bucket_or_buckets(cli: Cli, tree: str) -> None:
    assert cli("ls", f"s3://{tree}").lines == [f"s3://{tree}/a/", f"s3://{tree}/b/"]
    assert f"s3://{tree}/" in cli("ls", "s3://").lines
    assert cli("ls", f"s3://{tree}-missing").code == 3


@pytest.mark.parametrize("command", ["ls", "schema", "head"])
@pytest.mark.parametrize("key", ["a/*.avro", "a/1.avro"])
def test_missing_bucket_exits_3(cli: Cli, bucket: str, command: str, key: str) -> None:
    outcome = cli(command, f"s3://{bucket}-missing/{key}")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("avroglob: ")
    assert "check its name" in outcome.err


@pytest.mark.parametrize("command", ["ls", "schema", "head"])
def test_access_denied_advises(cli: Cli, tree: str, proxy: FaultProxy, command: str) -> None:
    proxy.fail("ListObjectsV2", status=403, code="AccessDenied")
    outcome = cli(command, "--endpoint-url", proxy.url, f"s3://{tree}/a/*.avro")
    assert (outcome.code, outcome.out) == (3, "")
    assert "--profile" in outcome.err
    assert "Traceback" not in outcome.err


def test_missing_credentials_exit_3(cli: Cli, tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    outcome = cli("ls", f"s3://{tree}/*")
    assert (outcome.code, outcome.out) == (3, "")
    assert "--no-sign-request" in outcome.err


def test_dead_endpoint_exits_3(cli: Cli) -> None:
    with closing(socket.socket()) as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        outcome = cli("ls", "--max-retries", 0, "--endpoint-url", url, "s3://bucket/*")
    assert (outcome.code, outcome.out) == (3, "")
    assert url in outcome.err
    assert "--endpoint-url" in outcome.err


def test_dead_web_server_is_no_missing(cli: Cli) -> None:
    with closing(socket.socket()) as unheard:
        unheard.bind(("127.0.0.1", 0))
        outcome = cli("ls", f"http://127.0.0.1:{unheard.getsockname()[1]}/x")
    assert (outcome.code, outcome.out) == (3, "")


def test_refusing_web_server_exits_3(cli: Cli, tree: str, endpoint: Endpoint) -> None:
    outcome = cli("head", f"{endpoint.url}/{tree}/a/1.avro")  # without a signature
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("avroglob: 403")


def test_failure_shows_attempts(cli: Cli, tree: str, proxy: FaultProxy) -> None:
    proxy.fail("ListObjectsV2", status=503, code="SlowDown")
    retry = ["--max-retries", 1, "-o", 'retry={"base_delay": 0}']
    outcome = cli("ls", *retry, "--endpoint-url", proxy.url, f"s3://{tree}/a/*")
    assert outcome.code == 3
    assert proxy.count("ListObjectsV2") == 2
    assert "failed after 2 attempts" in outcome.err
    assert "--max-retries" in outcome.err


def test_retry_is_a_warning(cli: Cli, tree: str, proxy: FaultProxy) -> None:
    proxy.fail("ListObjectsV2", status=503, code="SlowDown", times=1)
    retry = ["-o", 'retry={"base_delay": 0}']
    outcome = cli("ls", *retry, "--endpoint-url", proxy.url, f"s3://{tree}/a/x*")
    assert outcome[:2] == (0, f"s3://{tree}/a/x.txt\n")
    assert outcome.err.startswith("avroglob: ")
    assert "retry 1 of 2" in outcome.err


def test_debug_shows_the_traceback(cli: Cli, bucket: str) -> None:
    outcome = cli("ls", "--debug", f"s3://{bucket}/a{{b")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert "\navroglob: Invalid pattern" in outcome.err


def test_unforeseen_error_is_a_bug(cli: Cli) -> None:
    outcome = cli("ls", "broken://x/*")
    assert (outcome.code, outcome.out) == (70, "")
    assert "ZeroDivisionError" in outcome.err
    assert "this is a bug" in outcome.err
