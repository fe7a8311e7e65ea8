"""No operation needs more rights than what the caller asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import PutObjects
from tests.support.faults import Request
from tests.support.proxy import FaultProxy

KEYS = ("home/ann/2024/x.csv", "home/ann/a.csv", "home/bob/b.csv")


@pytest.fixture
def home(put: PutObjects, bucket: str) -> str:
    """The bucket, with home folders."""
    put(dict.fromkeys(KEYS, b"1"))
    return bucket


def refuse(proxy: FaultProxy, operation: str, match: Callable[[Request], bool]) -> None:
    proxy.clear()
    proxy.fail(operation, 403, "AccessDenied", match=match)


def home_folders(request: Request) -> bool:
    """AWS's policy for home folders refuses this listing to ann."""
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    level = prefix in ("", "home/") and delimiter == "/"
    return not (level or prefix.startswith("home/ann/"))


@pytest.fixture
def ann(counted: AvroGlobFileSystem, proxy: FaultProxy, home: str) -> AvroGlobFileSystem:
    """Ann's filesystem: what does not exist, or is not hers, is 403."""
    refuse(proxy, "ListObjectsV2", home_folders)
    absent = {f"{home}/{key}" for key in KEYS if key.startswith("home/ann/")}
    for operation in ("HeadObject", "GetObject"):
        proxy.fail(
            operation,
            403,
            "AccessDenied",
            match=lambda request: f"{home}/{request.key}" not in absent,
        )
    return counted


READS: dict[str, tuple[Callable[[Any, str], object], object, int]] = {
    "exists": (lambda fs, b: fs.exists(f"{b}/home/ann/a.csv"), True, 1),
    "exists of a missing key": (lambda fs, b: fs.exists(f"{b}/home/ann/none"), False, 2),
    "isdir": (lambda fs, b: fs.isdir(f"{b}/home/ann"), True, 1),
    "isdir of another's": (lambda fs, b: fs.isdir(f"{b}/home/bob"), True, 3),
    "info of a directory": (lambda fs, b: fs.info(f"{b}/home/ann")["type"], "directory", 3),
    "ls": (lambda fs, b: [n[len(b) :] for n in fs.ls(f"{b}/home")], ["/home/ann", "/home/bob"], 1),
    "find": (lambda fs, b: len(fs.find(f"{b}/home/ann")), 2, 1),
    "du": (lambda fs, b: fs.du(f"{b}/home/ann"), 2, 1),
    "walk": (lambda fs, b: len(list(fs.walk(f"{b}/home/ann"))), 2, 2),
    "glob": (lambda fs, b: len(fs.glob(f"{b}/home/a*/*.csv")), 1, 4),
    "glob **": (lambda fs, b: len(fs.glob(f"{b}/home/ann/**/*.csv")), 2, 1),
    "iglob": (lambda fs, b: len(list(fs.iglob(f"{b}/home/*/"))), 2, 1),
}


@pytest.mark.parametrize(("run", "expected", "requests"), READS.values(), ids=list(READS))
def test_reads_under_a_home_policy(
    ann: AvroGlobFileSystem,
    proxy: FaultProxy,
    home: str,
    run: Callable[[Any, str], object],
    expected: object,
    requests: int,
) -> None:
    assert run(ann, home) == expected
    assert proxy.count() <= requests


def test_refusals_cost_once(ann: AvroGlobFileSystem, proxy: FaultProxy, home: str) -> None:
    pattern = f"{home}/home/a*/*.csv"
    first = ann.glob(pattern)
    before = proxy.count()
    assert ann.glob(pattern) == first
    assert proxy.count() - before == 2  # home/, home/ann/


def test_refusal_of_the_operation_itself_is_raised(ann: AvroGlobFileSystem, home: str) -> None:
    for run in (
        lambda: ann.ls(f"{home}/home/bob"),
        lambda: ann.glob(f"{home}/home/bob/*"),
        lambda: ann.find(f"{home}/home"),
        lambda: ann.cat(f"{home}/home/bob/b.csv"),
    ):
        with pytest.raises(PermissionError):
            run()


def test_new_file_without_the_right_to_list(
    counted: AvroGlobFileSystem, proxy: FaultProxy, home: str
) -> None:
    proxy.fail("HeadObject", 403, "AccessDenied")
    proxy.fail("ListObjectsV2", 403, "AccessDenied")

    with counted.open(f"{home}/new", "xb") as file:
        file.write(b"2")
    with pytest.raises(FileExistsError), counted.open(f"{home}/new", "xb") as file:
        file.write(b"3")

    proxy.clear()
    assert counted.cat(f"{home}/new") == b"2"


def test_head_is_refused_where_nothing_tells(
    counted: AvroGlobFileSystem, proxy: FaultProxy, home: str
) -> None:
    proxy.fail("HeadObject", 403, "AccessDenied")
    proxy.fail("ListObjectsV2", 403, "AccessDenied")

    for name in ("one", "two"):
        with pytest.raises(PermissionError) as caught:
            counted.exists(f"{home}/d/{name}")
        assert caught.value.__notes__[0].startswith(f"HeadObject {home}/d/{name}: ")

    assert proxy.count("ListObjectsV2") == 2  # only for the first


def test_listing_tells_what_head_must_not(
    counted: AvroGlobFileSystem, proxy: FaultProxy, home: str
) -> None:
    proxy.fail("HeadObject", 403, "AccessDenied")

    assert counted.info(f"{home}/home/ann/a.csv")["size"] == 1
    assert counted.isfile(f"{home}/home/ann/2024/x.csv")
    with pytest.raises(FileNotFoundError):
        counted.info(f"{home}/home/ann/a")


@pytest.fixture
def unlisted(
    counted: AvroGlobFileSystem, proxy: FaultProxy, put: PutObjects, bucket: str
) -> AvroGlobFileSystem:
    """A filesystem that may read and write, but not list."""
    put({"d/a": b"1", "d/n[1].csv": b"2", "d/{n}.csv": b"3", "d/s*.csv": b"4"})
    refuse(proxy, "ListObjectsV2", lambda request: True)
    return counted


@pytest.mark.parametrize(
    ("name", "data"), [("n[1].csv", b"2"), ("{n}.csv", b"3"), ("s*.csv", b"4")]
)
def test_literal_name_opens_without_listing(
    unlisted: AvroGlobFileSystem, bucket: str, name: str, data: bytes
) -> None:
    with unlisted.open(f"{bucket}/d/{name}", "rb") as file:
        assert file.read() == data


def test_pattern_is_refused_without_listing(unlisted: AvroGlobFileSystem, bucket: str) -> None:
    with pytest.raises(PermissionError):
        unlisted.open(f"{bucket}/d/{{a,b}}.csv", "rb")


def test_pattern_opens_where_missing_keys_are_refused(
    counted: AvroGlobFileSystem, proxy: FaultProxy, put: PutObjects, bucket: str
) -> None:
    put({"a1.log": b"x\n", "a2.log": b"y\n"})
    refuse(proxy, "HeadObject", lambda request: request.key not in ("a1.log", "a2.log"))

    with counted.open(f"{bucket}/a[12].log", "rb") as file:
        assert file.read() == b"x\ny\n"


def test_single_files_are_copied_without_listing(
    unlisted: AvroGlobFileSystem, bucket: str, tmp_path: Path
) -> None:
    unlisted.get(f"{bucket}/d/a", str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"1"
    unlisted.put(str(tmp_path / "a"), f"{bucket}/d/put")
    unlisted.cp(f"{bucket}/d/put", f"{bucket}/d/copied")
    unlisted.mv(f"{bucket}/d/copied", f"{bucket}/d/moved")
    assert unlisted.cat(f"{bucket}/d/moved") == b"1"
    with pytest.raises(PermissionError):
        unlisted.get(f"{bucket}/d", str(tmp_path / "d"), recursive=True)
    with pytest.raises(PermissionError):
        unlisted.isdir(f"{bucket}/d")
