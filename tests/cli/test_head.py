"""`avroglob schema` and `head`."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import fastavro
import pytest

from fsspec_avroglob.cli.output import json_line
from tests.support.command import Cli


def test_schema_prints_json(cli: Cli, tree: str) -> None:
    for path in (f"s3://{tree}/a/1.avro", f"s3://{tree}/**/*.avro"):
        outcome = cli("schema", path)
        assert outcome.code == 0
        fields = json.loads(outcome.out)["fields"]
        assert [field["name"] for field in fields] == ["id", "at", "note"]


def test_head_shows_one_table(cli: Cli, tree: str) -> None:
    outcome = cli("head", "-n", "3", f"s3://{tree}/**/*.avro")
    assert [line.split() for line in outcome.lines] == [
        ["id", "at", "note"],
        ["1", "2025-01-02T03:04:05+00:00"],
        ["2", "2025-01-02T03:04:05+00:00", "n2"],
        ["3", "2025-01-02T03:04:05+00:00"],
    ]


def test_head_json_has_record_per_line(cli: Cli, tree: str) -> None:
    outcome = cli("head", "--json", f"s3://{tree}/a/1.avro", f"s3://{tree}/b/**/*.avro")
    assert [json.loads(line)["id"] for line in outcome.lines] == [1, 2, 4]
    assert json.loads(outcome.lines[0]) == {
        "id": 1,
        "at": "2025-01-02T03:04:05+00:00",
        "note": None,
    }


def test_head_n_spans_patterns(cli: Cli, tree: str) -> None:
    arguments = (f"s3://{tree}/a/2.avro", f"s3://{tree}/a/1.avro")
    outcome = cli("head", "--json", "-n", "2", *arguments)
    assert [json.loads(line)["id"] for line in outcome.lines] == [3, 1]
    assert cli("head", "--json", "-n", "0", *arguments) == (0, "", "")


def test_head_shows_non_records(cli: Cli, tmp_path: Path) -> None:
    with (tmp_path / "numbers.avro").open("wb") as file:
        fastavro.writer(file, "long", [7, 8])
    assert cli("head", tmp_path / "numbers.avro").out.split() == ["value", "7", "8"]
    assert cli("head", "--json", tmp_path / "numbers.avro").lines == ["7", "8"]


@pytest.mark.parametrize("command", ["schema", "head"])
def test_non_avro_file_exits_2(cli: Cli, tree: str, command: str) -> None:
    outcome = cli(command, f"s3://{tree}/a/x.txt")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("avroglob: ")
    assert f"{tree}/a/x.txt" in outcome.err


@pytest.mark.parametrize("command", ["schema", "head"])
def test_no_match_exits_1(cli: Cli, tree: str, command: str) -> None:
    outcome = cli(command, f"s3://{tree}/none/*.avro")
    assert (outcome.code, outcome.out) == (1, "")
    assert f"s3://{tree}/none/*.avro" in outcome.err


def test_json_spells_special_values() -> None:
    values = {"f": float("nan"), "i": float("-inf"), "b": b"\xff", "d": dt.date(2025, 1, 2)}
    assert json.loads(json_line([values])) == [
        {"f": "NaN", "i": "-Infinity", "b": "ÿ", "d": "2025-01-02"}
    ]
