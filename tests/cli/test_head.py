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


def test_schema_option_of_all_commands(cli: Cli, tmp_path: Path) -> None:
    for name, type_ in (("a", "int"), ("b", "long")):
        schema = {"type": "record", "name": "R", "fields": [{"name": name, "type": type_}]}
        with Path(tmp_path, f"{name}.avro").open("wb") as file:
            fastavro.writer(file, schema, [{name: 1}])
    files = f"{tmp_path}/*.avro"
    Path(tmp_path, "b.avsc").write_text(
        json.dumps({**schema, "fields": [{**schema["fields"][0], "default": 7}]})
    )

    merged = cli("schema", "--schema", "union", files)
    assert [field["name"] for field in json.loads(merged.out)["fields"]] == ["a", "b"]
    for command in (["head", "--json"], ["cat"]):
        found = cli(*command, "--schema", "union", files)
        assert list(map(json.loads, found.lines)) == [{"a": 1, "b": None}, {"a": None, "b": 1}]
        found = cli(*command, "--schema", f"{tmp_path}/b.avsc", files)
        assert list(map(json.loads, found.lines)) == [{"b": 7}, {"b": 1}]
    assert cli("count", "--total", "--schema", "union", files).out == "2\n"
    assert cli("count", "--total", files).out == "2\n"
    assert "does not fit" in cli("count", "--schema", "first", files).err
