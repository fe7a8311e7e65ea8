"""Copies of hostile keys: nothing outside the target, each refusal named, the others arrive."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsspec_avroglob.errors import RefusedKeysError
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.filesystem.targets import Targets, folds_case, may_collide_on_case
from tests.conftest import MakeFs, PutObjects

LONG = "n" * 255

REFUSED = {
    "in/../../x": "as a name",
    "in/../x": "as a name",
    "in/./x": "as a name",
    "in/..": "as a name",
    "in/" + "n" * 256: "longer than 255 bytes",
    "in/" + "ü" * 128: "longer than 255 bytes",
    "in/a": "also a directory",
    "in//b": "its file is that of",
}
ARRIVING = {
    "in//etc/x": "etc/x",
    "in/C:\\x": "C:\\x",
    "in/%2F%2e%2e": "%2F%2e%2e",
    "in/dots...": "dots...",
    "in/...": "...",
    "in/tab\t": "tab\t",
    "in/a/b": "a/b",
    "in/b": "b",
    f"in/{LONG}": LONG,
    "in/" + "/".join(["d" * 100] * 10): "/".join(["d" * 100] * 10),  # 1,012 bytes
    "in/Case": "Case",
    "in/case": "case",
}


def tree(directory: Path) -> set[str]:
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*")}
    return {name for name in found if (directory / name).is_file()}


@pytest.fixture
def hostile(make_fs: MakeFs, put: PutObjects) -> AvroGlobFileSystem:
    put({key: key.encode() for key in [*REFUSED, *ARRIVING] if key != "in//b"})
    put({"in//b": b"in//b"})
    return make_fs()


@pytest.mark.parametrize("source", ["in", "in/", "in/**"])
def test_get_stays_in_the_target(
    hostile: AvroGlobFileSystem, bucket: str, tmp_path: Path, source: str
) -> None:
    target = tmp_path / "outer" / "target"
    target.parent.mkdir()

    with pytest.raises(RefusedKeysError) as caught:
        hostile.get(f"{bucket}/{source}", str(target), recursive=True)

    assert {name.removeprefix("outer/target/") for name in tree(tmp_path)} == set(ARRIVING.values())
    reasons = {path.partition("/")[2]: reason for path, reason in caught.value.refused.items()}
    # Of two keys for one file the first in order is copied.
    reasons["in//b"] = reasons.pop("in/b", None) or reasons["in//b"]
    assert reasons.keys() == REFUSED.keys()
    for key, reason in REFUSED.items():
        assert reason in reasons[key]
        assert key == "in//b" or repr(f"{bucket}/{key}") in str(caught.value)
    for key, name in ARRIVING.items():
        if key != "in/b":
            assert (target / name).read_bytes() == key.encode()


def test_globs_stay_in_the_target(
    make_fs: MakeFs, put: PutObjects, bucket: str, tmp_path: Path
) -> None:
    put({"../x": b"1", "a/../../y": b"2", "a/../../../z": b"3"})
    (tmp_path / "target").mkdir()

    for pattern in ("*/x", "a/*/*/y", "**", "../x", "a/**"):
        with contextlib.suppress(RefusedKeysError):
            make_fs().get(f"{bucket}/{pattern}", str(tmp_path / "target") + "/")

    assert all(name.startswith("target/") for name in tree(tmp_path))


def test_directory_in_the_way_is_named(
    make_fs: MakeFs, put: PutObjects, bucket: str, tmp_path: Path
) -> None:
    put({"in/a": b"1", "in/b/c": b"2", "in/d": b"3"})
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(b"a file")

    with pytest.raises(RefusedKeysError) as caught:
        make_fs().get(f"{bucket}/in/", str(tmp_path), recursive=True)

    assert sorted(caught.value.refused) == [f"{bucket}/in/a", f"{bucket}/in/b/c"]
    assert tree(tmp_path) == {"b", "d"}


def test_links_do_not_lead_out(
    make_fs: MakeFs, put: PutObjects, bucket: str, tmp_path: Path
) -> None:
    put({"in/out/x/y": b"1", "in/within/x": b"2", "in/z": b"3"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target" / "real").mkdir(parents=True)
    (tmp_path / "target" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "target" / "within").symlink_to(tmp_path / "target" / "real")

    with pytest.raises(RefusedKeysError, match="is a link to another directory") as caught:
        make_fs().get(f"{bucket}/in/", str(tmp_path / "target"), recursive=True)

    assert list(caught.value.refused) == [f"{bucket}/in/out/x/y"]
    assert tree(tmp_path) == {"target/real/x", "target/z"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_empty_object_marks_a_directory(
    make_fs: MakeFs, put: PutObjects, bucket: str, tmp_path: Path
) -> None:
    put({"in/a": b"", "in/a/b": b"1", "in/c/": b"", "in/d": b""})

    make_fs().get(f"{bucket}/in/", str(tmp_path), recursive=True)

    assert tree(tmp_path) == {"a/b", "d"}
    assert (tmp_path / "c").is_dir()


# --- the names alone ------------------------------------------------------------------------------


def names(targets: Targets) -> tuple[list[str], list[str]]:
    return sorted(targets.files), sorted(targets.refused)


def test_case_folding_merges_names() -> None:
    paths = {"k/A": "/t/A", "k/a": "/t/a", "k/B": "/t/B", "k/b/c": "/t/b/c", "k/D/x": "/t/D/x"}
    paths["k/d/y"] = "/t/d/y"

    assert may_collide_on_case(paths.values())
    folding, exact = Targets("/t"), Targets("/t")
    folding.add(paths, fold=True)
    exact.add(paths)

    assert names(folding) == (["k/A", "k/D/x", "k/b/c", "k/d/y"], ["k/B", "k/a"])
    assert names(exact) == (sorted(paths), [])


def test_nul_is_refused() -> None:
    targets = Targets("/t")

    targets.add({"k/x": "/t/x", "k/a\0b": "/t/a\0b"})

    assert targets.files == {"k/x": "/t/x"}
    assert targets.refused == {"k/a\0b": "it holds a NUL"}


def test_windows_names_are_checked() -> None:
    bad = ["C:\\x", "a:b", "con.txt", "trailing.", "space ", "a\nb", "what?"]
    targets = Targets("/t", windows=True)

    targets.add({name: f"/t/{name}" for name in [*bad, "fine.txt", "console"]})

    assert names(targets) == (["console", "fine.txt"], sorted(bad))


def test_case_probe_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "probe").write_bytes(b"")

    assert folds_case(str(tmp_path)) == (tmp_path / "PROBE").exists()
    assert os.listdir(tmp_path) == ["probe"]


@given(st.lists(st.text(st.sampled_from("./\\ab\0"), min_size=1, max_size=12), max_size=8))
def test_each_file_is_one_key_below_root(keys: list[str]) -> None:
    targets = Targets("/root/target")

    targets.add({key: f"/root/target/{key}" for key in keys})

    places = [os.path.normpath(local) for local in targets.files.values()]
    assert targets.files.keys() | targets.refused.keys() == set(keys)
    assert len(set(places)) == len(places)
    for place in places:
        assert place == "/root/target" or place.startswith("/root/target/")
        assert not any(other.startswith(place + "/") for other in places)


def test_error_pickles() -> None:
    error = pickle.loads(pickle.dumps(RefusedKeysError("/t", {"b/../x": "no"})))

    assert (error.root, error.refused) == ("/t", {"b/../x": "no"})
