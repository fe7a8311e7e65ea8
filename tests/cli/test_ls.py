"""`avroglob ls`: what it prints, where, and with which exit code."""

from __future__ import annotations

import datetime as dt
import json
import os
import pty
from pathlib import Path

import fsspec
import pytest

from fsspec_avroglob.cli.output import human_size
from tests.conftest import PutObjects
from tests.support.command import Cli, popen, read_all


@pytest.mark.parametrize("scheme", ["s3", "s3a", "avroglob"])
def test_keeps_the_scheme_and_sorts(cli: Cli, tree: str, scheme: str) -> None:
    outcome = cli("ls", f"{scheme}://{tree}/**/*.avro")
    names = ["a/1.avro", "a/2.avro", "b/c/3.avro"]
    assert outcome == (0, "".join(f"{scheme}://{tree}/{name}\n" for name in names), "")


def test_directories_end_with_slash(cli: Cli, tree: str) -> None:
    assert cli("ls", f"s3://{tree}/*").lines == [f"s3://{tree}/a/", f"s3://{tree}/b/"]


def test_trailing_slash_lists_dirs(cli: Cli, tree: str) -> None:
    assert cli("ls", f"s3://{tree}/b/*/").lines == [f"s3://{tree}/b/c/"]


def test_lists_a_named_directory(cli: Cli, tree: str) -> None:
    names = [f"s3://{tree}/a/{name}" for name in ("1.avro", "2.avro", "x.txt")]
    assert cli("ls", f"s3://{tree}/a").lines == names
    assert cli("ls", f"s3://{tree}/a/").lines == names


def test_lists_a_named_file(cli: Cli, tree: str) -> None:
    assert cli("ls", f"s3://{tree}/a/x.txt").lines == [f"s3://{tree}/a/x.txt"]


def test_takes_the_whole_grammar(cli: Cli, tree: str) -> None:
    outcome = cli("ls", f"s3://{tree}/{{a,b/c}}/{{1..3}}.avro")
    assert [line.removeprefix(f"s3://{tree}/") for line in outcome.lines] == [
        "a/1.avro",
        "a/2.avro",
        "b/c/3.avro",
    ]


def test_long_shows_size_and_time(cli: Cli, tree: str) -> None:
    size, modified, path = cli("ls", "-l", f"s3://{tree}/a/x*").out.split()
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(modified)
    assert (size, path) == ("5", f"s3://{tree}/a/x.txt")
    assert abs(age) < dt.timedelta(minutes=10)


def test_human_readable_shortens_sizes(cli: Cli, bucket: str, put: PutObjects) -> None:
    put({"big": b"x" * 1536})
    assert cli("ls", "-h", f"s3://{bucket}/*").out.split()[0] == "1.5K"


def test_json_has_object_per_line(cli: Cli, tree: str) -> None:
    entries = [json.loads(line) for line in cli("ls", "--json", f"s3://{tree}/a/*").lines]
    assert entries[2].keys() == {"path", "type", "size", "modified", "etag"}
    assert (entries[2]["path"], entries[2]["size"]) == (f"s3://{tree}/a/x.txt", 5)
    directory = json.loads(cli("ls", "--json", f"s3://{tree}/b/*").out)
    assert directory["path"] == f"s3://{tree}/b/c/"
    assert directory["type"] == "directory"


def test_no_match_hides_no_other(cli: Cli, tree: str) -> None:
    outcome = cli("ls", f"s3://{tree}/a/*.csv", f"s3://{tree}/a/*.txt", f"s3://{tree}/no")
    assert outcome.code == 1
    assert outcome.lines == [f"s3://{tree}/a/x.txt"]
    assert outcome.err == (
        f"avroglob: nothing matches s3://{tree}/a/*.csv\navroglob: nothing matches s3://{tree}/no\n"
    )


def test_lists_relative_local_paths(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a1", "a2", "b1", "c1"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert cli("ls", "{a,b}*").lines == ["a1", "a2", "b1"]


def test_absolute_paths_stay_absolute(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert cli("ls", f"{tmp_path}/*").lines == [f"{tmp_path}/x"]


def test_lists_other_fsspec_urls(cli: Cli) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/cli-test/x.avro", b"1")
    try:
        assert cli("ls", "memory://cli-test/*").lines == ["memory:///cli-test/x.avro"]
    finally:
        memory.rm("/cli-test", recursive=True)


@pytest.mark.parametrize(("no_color", "styled"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_terminal_colours_and_escapes(
    tmp_path: Path, no_color: dict[str, str], styled: bool
) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "bell\x07").touch()
    master, slave = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "20", **no_color}
    with popen("ls", f"{tmp_path}/*", stdout=slave, env=environment) as process:
        os.close(slave)
        shown = read_all(master)
    assert process.returncode == 0
    assert ("\x1b[1;34m" in shown) is styled
    assert "bell\\x07" in shown
    assert f"{tmp_path}/dir/" in shown  # not wrapped


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (999, "999"), (1023, "1023"), (1024, "1.0K"), (1536, "1.5K"), (10_240, "10K"),
     (1024**2 - 1, "1.0M"), (20 * 1024**2, "20M"), (1024**3, "1.0G"), (5 * 1024**5, "5P")],
)  # fmt: skip
def test_sizes_are_short(size: int, text: str) -> None:
    assert human_size(size) == text
