"""What s3fs promises its users, `AvroGlobFileSystem` keeps: s3fs's own tests pass on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upstream.s3fs_suite import compare


@pytest.mark.upstream
def test_s3fs_suite_passes(tmp_path: Path) -> None:
    result = compare(tmp_path, arguments=["-n", "2"])

    assert len(result.passed) > 300
    assert result.broken == frozenset()
