"""`avroglob count` and `check`, and the walk over blocks beneath them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import fastavro
import pytest

from fsspec_avroglob.avro.container import parse_header, walk_blocks
from fsspec_avroglob.cli.output import print_rows
from tests.conftest import PutObjects
from tests.support.command import Cli, avro
from tests.support.proxy import FaultProxy

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "b", "type": "bytes"}]}


def container(*sizes: int, codec: str = "null") -> bytes:
    """A file with a block of one record for each size."""
    body = io.BytesIO()
    rows = [{"b": bytes(i % 251 for i in range(size))} for size in sizes]
    fastavro.writer(body, SCHEMA, rows, codec=codec, sync_interval=1)
    return body.getvalue()


# --- count ---------------------------------------------------------------------------------------


def test_count_shows_records_and_blocks(cli: Cli, tree: str) -> None:
    assert cli("count", f"s3://{tree}/**/*.avro").lines == [
        f"2\t1\ts3://{tree}/a/1.avro",
        f"1\t1\ts3://{tree}/a/2.avro",
        f"1\t1\ts3://{tree}/b/c/3.avro",
        "4\t3\ttotal",
    ]
    assert cli("count", "--total", f"s3://{tree}/**/*.avro") == (0, "4\n", "")
    assert json.loads(cli("count", "--json", f"s3://{tree}/a/1.avro").out) == {
        "records": 2,
        "blocks": 1,
        "path": f"s3://{tree}/a/1.avro",
    }


def test_small_file_costs_one_get(cli: Cli, tree: str, proxy: FaultProxy) -> None:
    cli("count", "--endpoint-url", proxy.url, f"s3://{tree}/**/*.avro")
    assert proxy.count("GetObject") == 3
    assert proxy.count() == proxy.count("GetObject") + proxy.count("ListObjectsV2")


def test_count_locates_a_corrupt_block(cli: Cli, bucket: str, put: PutObjects) -> None:
    data = container(10, 10, 10)
    put({"x.avro": data[:-1] + b"?"})
    outcome = cli("count", f"s3://{bucket}/*.avro")
    assert (outcome.code, outcome.out) == (2, "")
    assert "x.avro: block 2 at byte" in outcome.err


@pytest.mark.parametrize("command", ["count", "check"])
def test_no_match_exits_1(cli: Cli, tree: str, command: str) -> None:
    assert cli(command, f"s3://{tree}/none*").code == 1
    assert cli(command, f"s3://{tree}/none").code == 1
    assert cli(command, f"s3://{tree}/none/").code == 1


@pytest.mark.parametrize("command", ["count", "check"])
def test_directory_is_read(cli: Cli, tree: str, command: str) -> None:
    outcome = cli(command, f"s3://{tree}/a")
    assert outcome.code == 0
    assert f"s3://{tree}/a: left out: 1 that do not end in .avro" in outcome.err


def test_counts_local_files(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.avro").write_bytes(avro(1, 2, 3))
    assert cli("count", "--total", tmp_path / "x.avro").out == "3\n"
    assert cli("check", tmp_path / "x.avro").code == 0


# --- check ---------------------------------------------------------------------------------------


def test_check_is_quiet_on_good_files(cli: Cli, tree: str) -> None:
    assert cli("check", "--values", f"s3://{tree}/**/*.avro") == (
        0,
        "",
        "3 files, 3 good blocks, 4 values; 0 corrupt parts\n",
    )


def test_no_rows_print_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_rows([], as_json=False)
    assert capsys.readouterr().out == ""


def test_check_exits_4_on_damage(cli: Cli, bucket: str, put: PutObjects) -> None:
    good, damaged = container(10, 1000, 10, codec="deflate"), bytearray(container(10, 1000, 10))
    header = parse_header(bytes(damaged))
    _, second, _ = walk_blocks(bytes(damaged), header.sync_marker, start=header.size_bytes)
    damaged[second.data_offset] ^= 0x70  # the length of its value: only decoding can tell
    shortened = good[:-5]
    put({"good": good, "value": bytes(damaged), "short": shortened, "no": b"text", "empty": b""})
    outcome = cli("check", "--json", f"s3://{bucket}/*")
    assert outcome.code == 4
    told = {one["path"].rpartition("/")[2]: one for one in map(json.loads, outcome.lines)}
    assert set(told) == {"short", "no", "empty"}
    assert told["short"]["block"] == 2
    assert "not an Avro file" in told["no"]["reason"]
    values = cli("check", "--json", "--values", f"s3://{bucket}/value")
    assert json.loads(values.out)["block"] == 1
    assert "cannot be decoded" in values.out


def test_check_refuses_bombs(cli: Cli, bucket: str, put: PutObjects) -> None:
    put({"bomb": container(300_000, codec="deflate"), "fits": container(90_000)})
    outcome = cli("check", "--max-block-size", "100K", f"s3://{bucket}/*")
    assert outcome.code == 4
    assert [line.split("\t")[0] for line in outcome.lines] == [f"s3://{bucket}/bomb"]


def test_oversized_block_reported_once(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.avro").write_bytes(container(10, 5000, 10))
    outcome = cli("check", "--json", "--max-block-size", 1000, tmp_path / "x.avro")
    (lost,) = map(json.loads, outcome.lines)
    assert (lost["block"], lost["size"]) == (1, 5021)
    assert "claims 5002 bytes of data, more than 1000" in lost["reason"]
    assert "2 good blocks, 2 values; 1 corrupt part" in outcome.err


def test_check_locates_bad_blocks(cli: Cli, bucket: str, put: PutObjects) -> None:
    data = container(500, 500, 500, 500, codec="deflate")
    header = parse_header(data)
    blocks = list(walk_blocks(data, header.sync_marker, start=header.size_bytes))
    damaged = bytearray(data)
    for block in blocks[1::2]:
        damaged[block.data_offset] ^= 0xFF
    put({"b.avro": bytes(damaged), "a.avro": b"Obj"})

    outcome = cli("check", "--json", f"s3://{bucket}/*.avro")

    first, *told = map(json.loads, outcome.lines)
    assert first["path"] == f"s3://{bucket}/a.avro"
    assert [(one["block"], one["offset"], one["size"]) for one in told] == [
        (number, blocks[number].offset, blocks[number].end - blocks[number].offset)
        for number in (1, 3)
    ]
    assert "2 files, 2 good blocks, 2 values; 3 corrupt parts" in outcome.err
