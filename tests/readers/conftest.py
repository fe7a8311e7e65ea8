"""Fixtures for the tests of readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.avro_data import user_file


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """A glob of four files in Hive directories with the users 0 to 39 in order."""
    for n in range(4):
        directory = tmp_path / f"year={2023 + n // 2}" / f"part=0{n}"
        directory.mkdir(parents=True)
        (directory / "x.avro").write_bytes(user_file(10, n * 10, block_bytes=64))
    return f"{tmp_path}/year=*/part=*/*.avro"
