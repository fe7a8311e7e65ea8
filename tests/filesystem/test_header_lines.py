"""Header lines of joined tables: no row is lost, and no header line becomes a row."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from fsspec_avroglob import UncertainHeaderError
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.filesystem.header_lines import is_header
from tests.conftest import PutObjects


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("id,name\n", "1,ann\n2,bob\n"),
        ("name,id", "ann,1\nbob,\n"),
        (",a,b\n", "0,x,y\n1,z,w\n"),  # pandas' index
        ("time;value", "2026-11-30T12:00:00;high"),
        ("day\tcity", "2026-11-30\tRome\n2026-12-01\tBonn\n"),
        ("ok|why", "true|x\nfalse|y\n"),
        ('"a ""b""","c,d"', '"x","1.5e3"\n'),
        ('a,"b\nc"', '1,"x\ny"\n2,z\n'),
        ("\ufeffid,x", "1,-.5\n"),
        ("#id,name", "1,ann\n"),
    ],
)
def test_rows_show_a_header(line: str, rows: str) -> None:
    assert is_header(line.encode(), rows.encode())


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("0,0", "1,1\n"),
        ("ann,1", "bob,2\n"),
        ("name,city", "ann,rome\n"),
        ("info,started", "info,ended\n"),
        ("# v1", "n,m\n1,2\n"),
        ("Report", "a,b\n1,2\n"),
        ("a,a", "1,2\n"),
        ("a,2020", "x,1\n"),
        ("2026-11-30,a", "2026-12-01,b\n"),
        ("a,b", ""),
        ("", "1,2\n"),
        ("a,b", "1,2\n1,2,3\n4,5\n"),
        ("a,b", "c,d\n1,2\n3,4\n"),  # two header lines
        (",", "1,2\n"),
        (",ann", "5,bob\n9,eve\n11,joe\n"),
    ],
)
def test_rows_show_no_header(line: str, rows: str) -> None:
    assert not is_header(line.encode(), rows.encode())


DOUBTFUL = {
    "0.csv": b"0,0\n1,1\n",
    "v1.csv": b"# v1\nn,m\n1,2\n",
    "words.tsv": b"name\tcity\nann\trome\n",
    "table.txt": b"n m\n1 2\n",
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubt_is_an_error(
    fs: AvroGlobFileSystem, bucket: str, put: PutObjects, name: str, packed: bool
) -> None:
    data = gzip.compress(DOUBTFUL[name]) if packed else DOUBTFUL[name]
    suffix = ".gz" if packed else ""
    put({f"1-{name}{suffix}": data, f"2-{name}{suffix}": data})

    with pytest.raises(UncertainHeaderError, match=r"2-.* begins with .* as .*1-.*header_lines"):
        fs.open(f"{bucket}/*-{name}{suffix}").read()


@pytest.mark.parametrize(
    ("name", "count", "joined"),
    [
        ("0.csv", 0, b"0,0\n1,1\n0,0\n1,1\n"),
        ("v1.csv", 2, b"# v1\nn,m\n1,2\n1,2\n"),
        ("words.tsv", 1, b"name\tcity\nann\trome\nann\trome\n"),
        ("table.txt", 1, b"n m\n1 2\n1 2\n"),
        ("table.txt", 0, b"n m\n1 2\nn m\n1 2\n"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_user_knows(
    fs: AvroGlobFileSystem,
    bucket: str,
    put: PutObjects,
    name: str,
    count: int,
    joined: bytes,
    packed: bool,
) -> None:
    data = gzip.compress(DOUBTFUL[name]) if packed else DOUBTFUL[name]
    suffix = ".gz" if packed else ""
    put({f"1-{name}{suffix}": data, f"2-{name}{suffix}": data})

    with fs.open(f"{bucket}/*-{name}{suffix}", header_lines=count) as file:
        found = file.read()
    assert (gzip.decompress(found) if packed else found) == joined


def test_lines_of_logs_stay(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"1.log": b"start\n", "2.log": b"start\n", "1.txt": b"a\n", "2.txt": b"b\n"})
    assert fs.open(f"{bucket}/*.log").read() == b"start\nstart\n"
    assert fs.open(f"{bucket}/*.txt").read() == b"a\nb\n"


def test_pandas_without_header(fs: AvroGlobFileSystem, bucket: str, put: PutObjects) -> None:
    put({"1.csv": b"0,0\n1,1\n", "2.csv": b"0,0\n2,2\n"})
    options = {**fs.storage_options, "header_lines": 0}
    frame = pd.read_csv(f"avroglob://{bucket}/*.csv", header=None, storage_options=options)
    assert frame.to_numpy().tolist() == [[0, 0], [1, 1], [0, 0], [2, 2]]
