"""`avroglob find`, `du` and `stat`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsspec_avroglob.cli.command import size_in_bytes
from tests.conftest import PutObjects
from tests.support.command import Cli
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint


@pytest.fixture
def sized(bucket: str, put: PutObjects) -> str:
    put({"a/1.avro": b"1" * 10, "a/b/2.avro": b"2" * 2000, "a/b/x.txt": b"", "c/3.avro": b"333"})
    return f"s3://{bucket}"


def test_find_sorts_all_files_below(cli: Cli, sized: str) -> None:
    names = ["a/1.avro", "a/b/2.avro", "a/b/x.txt"]
    assert cli("find", f"{sized}/a") == (0, "".join(f"{sized}/{n}\n" for n in names), "")
    assert cli("find", f"{sized}/a/").lines == [f"{sized}/{n}" for n in names]
    assert cli("find", sized).lines == [f"{sized}/{n}" for n in [*names, "c/3.avro"]]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--name", "*.avro"], ["a/1.avro", "a/b/2.avro", "c/3.avro"]),
        (["--name", "[12].*"], ["a/1.avro", "a/b/2.avro"]),
        (["--max-depth", "2"], ["a/1.avro", "c/3.avro"]),
        (["--max-depth", "2", "--name", "3*"], ["c/3.avro"]),
        (["--min-size", "1K"], ["a/b/2.avro"]),
        (["--min-size", "1", "--max-size", "5"], ["c/3.avro"]),
        (["--max-size", "0"], ["a/b/x.txt"]),
    ],
)
def test_find_filters(cli: Cli, sized: str, options: list[str], found: list[str]) -> None:
    assert cli("find", *options, sized).lines == [f"{sized}/{name}" for name in found]


def test_find_looks_below_each_match(cli: Cli, sized: str) -> None:
    assert cli("find", f"{sized}/{{a/b,c}}").lines == [
        f"{sized}/a/b/2.avro",
        f"{sized}/a/b/x.txt",
        f"{sized}/c/3.avro",
    ]


def test_find_name_and_depth_spare_lists(
    cli: Cli, sized: str, put: PutObjects, proxy: FaultProxy
) -> None:
    put({f"deep/{i}/{j}/x": b"" for i in range(9) for j in range(9)})
    outcome = cli("find", "--endpoint-url", proxy.url, "--max-depth", 1, f"{sized}/c")
    assert outcome.lines == [f"{sized}/c/3.avro"]
    assert proxy.count() == proxy.count("ListObjectsV2") == 1


def test_find_no_match_exits_1(cli: Cli, sized: str) -> None:
    assert cli("find", f"{sized}/none")[:2] == (1, "")
    assert cli("find", "--name", "a/b", sized).code == 2


def test_find_lists_local_files(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/1.avro").touch()
    (tmp_path / "x/y").touch()
    assert cli("find", tmp_path, "--name", "*.avro").lines == [f"{tmp_path}/x/1.avro"]
    assert cli("find", tmp_path, "--max-depth", 2).lines == [
        f"{tmp_path}/x/1.avro",
        f"{tmp_path}/x/y",
    ]


def test_du_sums_below_each_match(cli: Cli, sized: str) -> None:
    assert cli("du", f"{sized}/a").lines == [f"2010\t3\t{sized}/a"]
    assert cli("du", f"{sized}/a/1.avro").lines == [f"10\t1\t{sized}/a/1.avro"]
    assert cli("du", sized).lines == [f"2013\t4\t{sized}"]
    assert cli("du", f"{sized}/*").lines == [
        f"2010\t3\t{sized}/a",
        f"3\t1\t{sized}/c",
        "2013\t4\ttotal",
    ]


def test_du_shortens_sizes(cli: Cli, sized: str) -> None:
    assert cli("du", "-h", f"{sized}/a/*").lines == [
        f"10\t1\t{sized}/a/1.avro",
        f"2.0K\t2\t{sized}/a/b",
        "2.0K\t3\ttotal",
    ]


def test_du_counts_each_file_once(cli: Cli, sized: str) -> None:
    assert cli("du", f"{sized}/**/*.avro").lines == [f"2013\t3\t{sized}"]


def test_du_json_has_no_total(cli: Cli, sized: str) -> None:
    outcome = cli("du", "--json", f"{sized}/*")
    assert [json.loads(line) for line in outcome.lines] == [
        {"size": 2010, "files": 3, "path": f"{sized}/a"},
        {"size": 3, "files": 1, "path": f"{sized}/c"},
    ]


def test_du_no_match_exits_1(cli: Cli, sized: str) -> None:
    outcome = cli("du", f"{sized}/none")
    assert outcome[:2] == (1, "")
    assert "none" in outcome.err


def test_stat_costs_one_request(
    cli: Cli, bucket: str, endpoint: Endpoint, proxy: FaultProxy
) -> None:

    endpoint.client().put_object(
        Bucket=bucket, Key="x", Body=b"12345", ContentType="a/b", Metadata={"owner": "me"}
    )
    outcome = cli("stat", "--json", "--endpoint-url", proxy.url, f"s3://{bucket}/x")
    known = json.loads(outcome.out)
    assert (known["path"], known["size"], known["type"]) == (f"s3://{bucket}/x", 5, "file")
    assert (known["content_type"], known["metadata"]) == ("a/b", {"owner": "me"})
    assert known["etag"] == "827ccb0eea8a706c4c34a16891f84e7b"
    assert [request.operation for request in proxy.requests] == ["HeadObject"]


def test_stat_shows_field_per_line(cli: Cli, sized: str) -> None:
    fields = dict(line.split(maxsplit=1) for line in cli("stat", f"{sized}/c/3.avro").lines)
    assert fields["size"] == "3"
    assert fields["path"] == f"{sized}/c/3.avro"


def test_stat_of_dirs_and_patterns(cli: Cli, sized: str, tmp_path: Path) -> None:
    assert json.loads(cli("stat", "--json", f"{sized}/a").out)["type"] == "directory"
    found = [json.loads(line) for line in cli("stat", "--json", f"{sized}/*/*.avro").lines]
    assert [entry["size"] for entry in found] == [10, 3]
    (tmp_path / "x").write_bytes(b"12")
    assert json.loads(cli("stat", "--json", tmp_path / "x").out)["size"] == 2


def test_stat_no_match_exits_1(cli: Cli, sized: str) -> None:
    assert cli("stat", f"{sized}/none")[:2] == (1, "")
    assert cli("stat", f"{sized}/none*")[:2] == (1, "")
    assert cli("stat", f"{sized}-missing/x").code == 3


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("10K", 10240), ("1.5m", 1572864), ("2GB", 2 << 30), ("1KiB", 1024)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "x", "1X", "K", "inf", "nan"])
def test_invalid_size_exits_2(cli: Cli, tmp_path: Path, text: str) -> None:
    outcome = cli("find", tmp_path, "--min-size", text)
    assert outcome.code == 2
    assert "--min-size" in outcome.err
