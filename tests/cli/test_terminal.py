"""Keys and texts of servers with characters that a terminal obeys or hides."""

from __future__ import annotations

import json
import re

import pytest

from fsspec_avroglob.s3.retry import RetryEvent
from tests.support.command import Cli
from tests.support.proxy import FaultProxy

EVIL = "\x1b]0;PWNED\x07\u009b31m\u202e\u2066\nFAKE"
ESCAPED = "\\x1b]0;PWNED\\x07\\x9b31m\\u202e\\u2066\\nFAKE"
LISTING = (
    "<?xml version='1.0'?><ListBucketResult><EncodingType>url</EncodingType>"
    "<IsTruncated>false</IsTruncated><Contents><Key>d/{}.avro</Key><Size>1</Size>"
    "<ETag>&quot;e&quot;</ETag><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
    "</ListBucketResult>"
)
KEY = "%1B%5D0%3BPWNED%07%C2%9B31m%E2%80%AE%E2%81%A6%0AFAKE"


def is_clean(text: str) -> bool:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)  # colours
    return all(c.isprintable() or c == "\n" for c in text) and "\nFAKE" not in text


@pytest.fixture
def url(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, bucket: str) -> str:
    proxy.fail("ListObjectsV2", 200, body=LISTING.format(KEY).encode())
    return f"s3://{bucket}/d/*"


@pytest.mark.parametrize(
    "command",
    [
        ["ls"],
        ["ls", "-l"],
        ["find"],
        ["du"],
        ["stat"],
        ["cp", "--dry-run"],
        ["ls", "--json"],
        ["stat", "--json"],
        ["explain", "--run"],
        ["check", "--max-retries", "0"],
        ["count", "--max-retries", "1"],
        ["head", "--max-retries", "0"],
        ["cat", "--max-retries", "0"],
        ["schema", "--max-retries", "0", "--debug"],
    ],
    ids=" ".join,
)
def test_terminal_is_clean(
    cli: Cli, url: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    proxy.fail("GetObject", 503, "SlowDown")
    proxy.fail("HeadObject", 503, "SlowDown")
    arguments = [url, "target/"] if command[0] == "cp" else [url]

    outcome = cli(*command, "--endpoint-url", proxy.url, *arguments)

    assert "PWNED" in outcome.out + outcome.err or command[0] in ("du", "explain", "find")
    assert is_clean(outcome.out)
    assert is_clean(outcome.err)


def test_message_of_server_is_clean(cli: Cli, proxy: FaultProxy, bucket: str) -> None:
    message = "denied &#x9b;31m &#x202e;for you&#10;FAKE"
    body = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
    proxy.fail("ListObjectsV2", 403, body=body.encode())

    outcome = cli("ls", "--endpoint-url", proxy.url, f"s3://{bucket}/*")

    assert "denied \\x9b31m \\u202efor you\\nFAKE" in outcome.err
    assert is_clean(outcome.err)


def test_json_keeps_the_key(cli: Cli, url: str, proxy: FaultProxy) -> None:
    outcome = cli("ls", "--json", "--endpoint-url", proxy.url, url)

    assert json.loads(outcome.out)["path"].endswith(f"/d/{EVIL}.avro")
    assert is_clean(outcome.out)


def test_pipe_gets_the_key_itself(cli: Cli, url: str, proxy: FaultProxy) -> None:
    assert EVIL in cli("ls", "--endpoint-url", proxy.url, url).out


def test_log_lines_are_one_line() -> None:
    event = RetryEvent("GetObject", f"b/{EVIL}", 1, 2, "timeout", 0.5, 1.0, OSError())

    assert str(event) == f"GetObject b/{ESCAPED}: timeout, retry 1 of 2 in 0.50 s"
