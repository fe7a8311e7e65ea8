"""`new`: names once, and what marks them as done."""

from __future__ import annotations

import json

import pytest

from tests.conftest import PutObjects
from tests.support.command import Cli


@pytest.fixture
def arguments(put: PutObjects, bucket: str) -> tuple[str, ...]:
    put({"d/1.avro": b"x", "d/2.avro": b"yy"})
    return "new", f"s3://{bucket}/d/*.avro", "--state", f"s3://{bucket}/state.json"


@pytest.fixture
def names(bucket: str) -> str:
    return f"s3://{bucket}/d/1.avro\ns3://{bucket}/d/2.avro\n"


def test_printing_marks_nothing(cli: Cli, arguments: tuple[str, ...], names: str) -> None:
    for _ in range(2):
        assert cli(*arguments).out == names


def test_commit(cli: Cli, arguments: tuple[str, ...], names: str) -> None:
    ended = cli(*arguments, "--commit")
    assert (ended.code, ended.out) == (0, names)
    assert "2 files marked as done" in ended.err
    ended = cli(*arguments, "--commit")
    assert (ended.code, ended.out) == (0, "")


def test_json(cli: Cli, arguments: tuple[str, ...], bucket: str) -> None:
    first, second = map(json.loads, cli(*arguments, "--json").out.splitlines())
    assert first["path"] == f"s3://{bucket}/d/1.avro"
    assert second["size"] == 2
    assert second["modified"].endswith("+00:00")


def test_run_commits_if_it_succeeds(
    cli: Cli, arguments: tuple[str, ...], names: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("run") / "names"
    failed = cli(*arguments, "--run", "exit 7")
    assert (failed.code, "ended with 7; nothing is marked" in failed.err) == (1, True)
    ended = cli(*arguments, "--run", f"cat > {target}", "--max-files", "1")
    assert (ended.code, ended.out) == (0, "")
    cli(*arguments, "--run", f"cat >> {target}")
    assert target.read_text() == names
    assert cli(*arguments, "--run", "exit 7").code == 0


def test_local_state(cli: Cli, arguments: tuple[str, ...], names: str, tmp_path: object) -> None:
    state = f"{tmp_path}/state.json"
    assert cli(*arguments[:3], state, "--commit").out == names
    assert cli(*arguments[:3], state).out == ""


@pytest.mark.parametrize(
    "wrong", [("--lookback", "soon"), ("--commit", "--run", "true"), ("--late", "never")]
)
def test_wrong_options(cli: Cli, arguments: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    assert cli(*arguments, *wrong).code == 2
