"""Local files: new, or existing ones that others rely on."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fsspec_avroglob.errors import RefusedKeysError
from fsspec_avroglob.filesystem.atomic import atomic_path
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import PutObjects


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.write_text("old")
    return path


def write(target: Path, text: str = "new") -> None:
    with atomic_path(target) as part:
        Path(part).write_text(text)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_the_mode_stays(target: Path, mode: int) -> None:
    target.chmod(mode)

    write(target)

    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", mode)


def test_an_unfinished_file_is_private(target: Path) -> None:
    with atomic_path(target) as part, open(part, "w"):
        assert stat.S_IMODE(os.stat(part).st_mode) == 0o600


def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()

    write(tmp_path / "new")

    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("leads_to", ["target", "missing", "other/target"])
def test_links_are_written_through(target: Path, leads_to: str) -> None:
    (target.parent / "other").mkdir()
    link = target.parent / "link"
    link.symlink_to(leads_to)

    write(link)

    assert link.is_symlink()
    assert (target.parent / leads_to).read_text() == "new"
    assert sorted(path.name for path in target.parent.rglob(".*")) == []


def test_hard_links_stay_together(target: Path) -> None:
    other = target.parent / "other"
    other.hardlink_to(target)

    write(target)

    assert other.read_text() == target.read_text() == "new"
    assert sorted(path.name for path in target.parent.iterdir()) == ["other", "target"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_failure_changes_nothing(target: Path, linked: bool) -> None:
    if linked:
        (target.parent / "other").hardlink_to(target)
    names = sorted(path.name for path in target.parent.iterdir())

    def fail() -> None:
        with atomic_path(target) as part:
            Path(part).write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert target.read_text() == "old"
    assert sorted(path.name for path in target.parent.iterdir()) == names


AS_NOBODY = """
import os, sys
from fsspec_avroglob.filesystem.atomic import atomic_path
os.setgid(65534); os.setuid(65534)
with atomic_path(sys.argv[1]) as part, open(part, "w") as file:
    file.write("new")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become someone else")
@pytest.mark.parametrize(
    ("mode", "directory_mode", "written"), [(0o666, 0o755, True), (0o444, 0o777, False)]
)
def test_rights_of_the_file_decide(
    target: Path, mode: int, directory_mode: int, written: bool
) -> None:
    for parent in target.parents[1:4]:
        parent.chmod(parent.stat().st_mode | 0o111)
    target.parent.chmod(directory_mode)
    target.chmod(mode)

    ended = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, target], capture_output=True, text=True
    )

    assert target.read_text() == ("new" if written else "old")
    assert ("PermissionError" in ended.stderr) != written


def test_get_keeps_what_exists(
    fs: AvroGlobFileSystem, put: PutObjects, bucket: str, target: Path
) -> None:
    put({"a/target": b"new", "a/link": b"through"})
    target.chmod(0o600)
    (target.parent / "real").write_text("old")
    (target.parent / "link").symlink_to("real")

    fs.get(f"{bucket}/a/", str(target.parent), recursive=True)

    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", 0o600)
    assert (target.parent / "real").read_text() == "through"
    assert (target.parent / "link").is_symlink()


def test_get_follows_no_link_out(
    fs: AvroGlobFileSystem, put: PutObjects, bucket: str, tmp_path: Path
) -> None:
    put({"a/link": b"new", "a/plain": b"new"})
    (tmp_path / "outside").write_text("old")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(RefusedKeysError, match="link"):
        fs.get(f"{bucket}/a/", str(tmp_path / "in"), recursive=True)

    assert (tmp_path / "outside").read_text() == "old"
    assert (tmp_path / "in" / "plain").read_text() == "new"


def test_special_files_receive_bytes(
    fs: AvroGlobFileSystem, put: PutObjects, bucket: str, tmp_path: Path
) -> None:
    put({"key": b"content"})
    received: list[bytes] = []
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()

    fs.get_file(f"{bucket}/key", tmp_path / "pipe")
    fs.get_file(f"{bucket}/key", "/dev/null")
    reader.join()

    assert received == [b"content"]
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
