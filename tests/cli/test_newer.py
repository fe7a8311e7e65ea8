"""`--newer-than` and `--older-than`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.command import Cli


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, days in (("old", 3), ("new", 0)):
        (tmp_path / name).write_text("x")
        moment = time.time() - days * 86_400
        os.utime(tmp_path / name, (moment, moment))
    (tmp_path / "directory").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--newer-than", "1d"), ["new"]),
        (("--older-than", "1d"), ["old"]),
        (("--newer-than", "2000-01-01", "--older-than", "1d"), ["old"]),
    ],
)
def test_files_by_age(cli: Cli, files: Path, options: tuple[str, ...], names: list[str]) -> None:
    paths = [str(files / name) for name in names]
    for arguments in (("ls", f"{files}/*"), ("ls", str(files)), ("find", str(files))):
        assert cli(*arguments, *options).out.splitlines() == paths, arguments


def test_wrong_time(cli: Cli, files: Path) -> None:
    ended = cli("ls", "--newer-than", "yesterday", f"{files}/*")
    assert (ended.code, "neither a time" in ended.err) == (2, True)
