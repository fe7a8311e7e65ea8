"""Damaged files raise documented errors."""

from __future__ import annotations

import random

import pytest

from benchmarks import fuzz


@pytest.mark.needs("polars")
def test_damaged_files_raise_documented_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--cases", "20", "--seed", "7"]) == 0
    assert "20 files, seed 7, 7 readers: 0 problems" in capsys.readouterr().out


def test_cases_depend_on_the_seed_alone() -> None:
    for number in range(5):
        first, second = (fuzz.damaged(random.Random(f"1-{number}")) for _ in range(2))
        assert first == second


def test_other_errors_are_problems() -> None:
    def fail(path: str) -> None:
        raise TypeError("no documented error")

    assert fuzz.problem(fail, "x.avro") == "TypeError: no documented error"
