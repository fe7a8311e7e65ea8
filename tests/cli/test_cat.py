"""`avroglob cat`: records as JSON lines, CSV and Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.conftest import PutObjects
from tests.support.command import Cli, avro
from tests.support.proxy import FaultProxy


def test_json_lines_by_default(cli: Cli, tree: str) -> None:
    outcome = cli("cat", f"s3://{tree}/**/*.avro")
    assert outcome.code == 0
    assert [json.loads(line)["id"] for line in outcome.lines] == [1, 2, 3, 4]
    assert json.loads(outcome.lines[1])["note"] == "n2"


def test_csv_has_header_and_empty_nulls(cli: Cli, tree: str) -> None:
    assert cli("cat", "-f", "csv", "--columns", "note,id", f"s3://{tree}/a/*.avro").lines == [
        "note,id",
        ",1",
        "n2,2",
        ",3",
    ]


def test_file_name_sets_the_format(cli: Cli, tree: str, tmp_path: Path) -> None:
    for name in ("x.csv", "x.jsonl", "x.parquet"):
        assert cli("cat", "--to", tmp_path / name, f"s3://{tree}/**/*.avro") == (0, "", "")
    assert (tmp_path / "x.csv").read_text().startswith("id,at,note\n")
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 4
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert table["id"].to_pylist() == [1, 2, 3, 4]
    assert {path.name for path in tmp_path.iterdir()} == {"x.csv", "x.jsonl", "x.parquet"}


def test_n_spans_patterns(cli: Cli, tree: str) -> None:
    outcome = cli("cat", "-n", 2, f"s3://{tree}/b/**/*.avro", f"s3://{tree}/a/1.avro")
    assert [json.loads(line)["id"] for line in outcome.lines] == [4, 1]


def test_options_of_s3_reach_s3_after_a_local_file(
    cli: Cli, tree: str, tmp_path: Path, proxy: FaultProxy
) -> None:
    (tmp_path / "local.avro").write_bytes(avro(7))
    endpoint = ["--endpoint-url", proxy.url]
    outcome = cli("cat", *endpoint, tmp_path / "local.avro", f"s3://{tree}/b/c/3.avro")
    assert [json.loads(line)["id"] for line in outcome.lines] == [7, 4]
    assert proxy.count("GetObject") == 1


def test_parquet_needs_a_file(cli: Cli, tree: str) -> None:
    outcome = cli("cat", "-f", "parquet", f"s3://{tree}/a/1.avro")
    assert outcome.code == 2
    assert "--to" in outcome.err


@pytest.mark.parametrize(("name", "told"), [("x.xlsx", "--format"), ("no/x.csv", "directory")])
def test_impossible_output_is_refused(
    cli: Cli, tree: str, tmp_path: Path, name: str, told: str
) -> None:
    outcome = cli("cat", "--to", tmp_path / name, f"s3://{tree}/a/1.avro")
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert told in outcome.err


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_failure_leaves_no_file(
    cli: Cli, bucket: str, put: PutObjects, tmp_path: Path, name: str
) -> None:
    good = avro(*range(1000))
    put({"1.avro": good, "2.avro": good[:-9]})
    (tmp_path / name).write_text("old")
    outcome = cli("cat", "--to", tmp_path / name, f"s3://{bucket}/*")
    assert outcome.code == 2
    assert "2.avro" in outcome.err
    assert (tmp_path / name).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_corrupt_blocks_are_skipped(cli: Cli, bucket: str, put: PutObjects) -> None:
    put({"1.avro": avro(1), "2.avro": avro(2)[:-9]})
    outcome = cli("cat", "--ignore-errors", f"s3://{bucket}/*")
    assert outcome.code == 0
    assert [json.loads(line)["id"] for line in outcome.lines] == [1]
    assert "2.avro" in outcome.err


def test_no_match_exits_1(cli: Cli, tree: str, proxy: FaultProxy) -> None:
    assert cli("cat", f"s3://{tree}/none*")[:2] == (1, "")
    assert cli("cat", f"s3://{tree}/a/x.txt").code == 2
