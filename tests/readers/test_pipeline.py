"""What is decoded together: small runs of files that are alike, and in which order it comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from fsspec_avroglob.avro.decode import RunDecoder, Together
from fsspec_avroglob.avro.stream import BlockRun
from fsspec_avroglob.errors import AvroDecodeError
from fsspec_avroglob.readers.options import ReadOptions
from fsspec_avroglob.readers.session import Located, Reading
from fsspec_avroglob.readers.sources import OpenedFile
from tests.support.avro_data import user_file


class Counting:
    """Counts the values of the runs of files, and how many runs and bytes each call is given."""

    def __init__(self, fails_together: bool = False, **options: object) -> None:
        self.calls: list[int] = []
        self.sizes: list[int] = []
        self.found: list[tuple[str, int]] = []
        self._fails = fails_together
        self._options = ReadOptions(**options)  # type: ignore[arg-type]  # each test has others

    def read(self, directory: Path, alike: Callable[[str], object]) -> None:
        """Count in *directory*; a file is like those for which *alike* returns the same."""
        asyncio.run(self._read(f"{directory}/*.avro", alike))

    async def _read(self, pattern: str, alike: Callable[[str], object]) -> None:
        reading, _ = await Reading.open(Located.of(pattern, None, self._options), self._options)

        def decoder(file: OpenedFile) -> RunDecoder[int]:
            several = Together(alike(Path(file.source.path).stem), self._several)
            return reading.decoder(file, self._single, parallel=False, several=several)

        async with aclosing(reading.results(decoder, lambda count: 1)) as results:
            async for file, count in results:
                self.found.append((Path(file.source.path).stem, count))

    def _single(self, run: BlockRun, rows: int | None) -> int:
        self.calls.append(1)
        self.sizes.append(run.size_bytes)
        return run.value_count

    def _several(self, runs: Sequence[BlockRun]) -> list[int]:
        self.calls.append(len(runs))
        self.sizes.append(sum(run.size_bytes for run in runs))
        if self._fails:
            raise ValueError("one of them is damaged")
        return [run.value_count for run in runs]


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Files 0 to 4, each of as many rows as its name says and ten more."""
    for n in range(5):
        (tmp_path / f"{n}.avro").write_bytes(user_file(10 + n))
    return tmp_path


ROWS = [(str(n), 10 + n) for n in range(5)]


@pytest.mark.parametrize(
    ("alike", "calls"),
    [
        (lambda name: "all", [5]),
        (lambda name: name < "3", [3, 2]),
        (lambda name: int(name) % 2, [1, 1, 1, 1, 1]),
        (lambda name: None, [1, 1, 1, 1, 1]),
    ],
)
def test_like_neighbours_decode_together(
    five: Path, alike: Callable[[str], object], calls: list[int]
) -> None:
    counting = Counting()

    counting.read(five, alike)

    assert counting.calls == calls
    assert counting.found == ROWS


def test_little_is_decoded_together_until_the_ratio_is_known(
    tmp_path: Path,
) -> None:
    content = user_file(1_000)
    for n in range(100):
        (tmp_path / f"{n}.avro").write_bytes(content)
    counting = Counting()

    counting.read(tmp_path, lambda name: "all")

    assert 1 << 17 <= counting.sizes[0] < 1 << 18
    assert max(counting.sizes) < (1 << 20) + len(content)
    assert sum(count for _, count in counting.found) == 100_000


def test_runs_that_fail_together_are_decoded_one_by_one(five: Path) -> None:
    counting = Counting(fails_together=True)

    counting.read(five, lambda name: "all")

    assert counting.calls == [5, 1, 1, 1, 1, 1]
    assert counting.found == ROWS


def test_files_before_a_failure_come(five: Path) -> None:
    content = (five / "3.avro").read_bytes()
    (five / "3.avro").write_bytes(content[:-1])
    counting = Counting()

    with pytest.raises(AvroDecodeError, match=r"3\.avro"):
        counting.read(five, lambda name: "all")

    assert counting.found == ROWS[:3]


def test_the_last_row_does_not_wait_for_others(five: Path) -> None:
    counting = Counting(n_rows=15)

    counting.read(five, lambda name: "all")

    assert counting.calls == [1, 1]
