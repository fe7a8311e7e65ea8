"""Options, help and usage errors of the command line."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fsspec_avroglob.cli.app import app
from fsspec_avroglob.cli.command import Settings
from tests.support.command import Cli


def test_invalid_pattern_gets_a_caret(cli: Cli, bucket: str) -> None:
    outcome = cli("ls", f"s3://{bucket}/a{{b")
    message, pattern, caret = outcome.err.splitlines()
    assert (outcome.code, outcome.out) == (2, "")
    assert message.startswith("avroglob: ")
    assert pattern[caret.index("^")] == "{"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "max_retrys=1"], "max_retries"),
        (["--region", "a", "-o", "aws_region=b"], "region"),
        (["--region", "a", "-o", "region=b"], "--region"),
        (["--no-sign-request", "-o", "anon=false"], "--no-sign-request"),
        (["-o", "nonsense"], "NAME=VALUE"),
        (["-o", "retry={"], "not valid JSON"),
        (["-o", "key=a", "-o", "key=b"], "twice"),
        (["--max-retries", "-1"], "--max-retries"),
        (["--max-retries", "x"], "--max-retries"),
        (["--frobnicate"], "--frobnicate"),
        (["--endpoint-url", "127.0.0.1:9000"], "127.0.0.1:9000"),
        (["--profile", "nobody"], "nobody"),
        (["--region", "no region"], "no region"),
    ],
)
def test_wrong_options_are_named(cli: Cli, bucket: str, arguments: list[str], told: str) -> None:
    outcome = cli("ls", *arguments, f"s3://{bucket}/*")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("avroglob: ")
    assert told in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("arguments", [["ls"], ["frob"], ["demo", "--port", "1"]])
def test_incomplete_command_exits_2(cli: Cli, arguments: list[str]) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("avroglob: ")


def test_all_buckets_are_refused(cli: Cli) -> None:
    outcome = cli("ls", "s3://*/x")
    assert outcome.code == 2
    assert outcome.err.startswith("avroglob: ")


@pytest.mark.parametrize("command", ["ls", "du", "stat", "find", "cp", "count"])
def test_bare_key_is_local(cli: Cli, tmp_path: Path, command: str) -> None:
    outcome = cli(command, f"{tmp_path}/events/*", *[tmp_path] * (command == "cp"))
    assert (outcome.code, outcome.out) == (1, "")
    assert f"nothing matches {tmp_path}/events/* here; on S3 it is s3://bucket/key" in outcome.err


def test_no_arguments_show_help(cli: Cli) -> None:
    outcome = cli()
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: avroglob" in outcome.err


@pytest.mark.parametrize("command", ["", *app.commands])
def test_help_has_examples(cli: Cli, command: str) -> None:
    outcome = cli(*command.split(), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"  avroglob {command}" in outcome.out.partition("Examples:")[2]


def test_version_names_the_libraries(cli: Cli) -> None:
    outcome = cli("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("avroglob ")
    assert "s3fs " in outcome.out


def test_s3_options_stay_with_s3() -> None:
    settings = Settings.from_parameters(region="r", option=["auto_mkdir=true"])
    assert settings.storage_options("/x") == {"auto_mkdir": True}
    assert settings.storage_options("s3://b/x") == {"region": "r", "auto_mkdir": True}


def test_aws_region_sets_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Settings.from_parameters().s3_options == {"region": "eu-west-1"}
    assert Settings.from_parameters(region="x").s3_options == {"region": "x"}


def test_equal_options_agree() -> None:
    settings = Settings.from_parameters(region="r", option=["region=r", "region=r"])
    assert settings.storage_options("s3://b") == {"region": "r"}
    with pytest.raises(click.UsageError):
        Settings.from_parameters(option=["=x"])
