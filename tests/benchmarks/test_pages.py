"""A page that a benchmark writes names its command and shows the plots written next to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import avro, bytes, listing
from benchmarks.process import Measurement
from benchmarks.report import Benchmark, command_line, page, parse
from benchmarks.scenarios import ALL, PATTERNS

LISTED = [
    Measurement(one, tool, "ok", wall_s=0.1, cpu_s=0.01, requests=13, found=12)
    for one in PATTERNS[:2]
    for tool in ALL
]
READ = [Measurement(avro.MANY, "avroglob", "ok", wall_s=0.1)]
MOVED = [
    Measurement(one, tool, "ok", wall_s=0.1, cpu_s=0.05, found=one.moved_bytes)
    for one in bytes.scenarios(quick=True)
    for tool in bytes.TOOLS
]


def written(benchmark: Benchmark, *arguments: str) -> str:
    return page(parse(command_line("listing", "", quick="a minute"), arguments), benchmark)


@pytest.mark.parametrize(
    "benchmark",
    [listing.benchmark(LISTED), avro.benchmark(READ), bytes.benchmark(MOVED)],
    ids=["listing", "avro", "bytes"],
)
def test_page_has_command_and_goals(benchmark: Benchmark, tmp_path: Path) -> None:
    text = written(benchmark, "--markdown", f"{tmp_path}/page.md")
    assert f"python -m benchmarks listing --markdown {tmp_path}/page.md" in text
    assert "| goal | measured | met |" in text
    assert "100 ms" in text


@pytest.mark.needs("matplotlib")
def test_page_shows_its_plots(tmp_path: Path) -> None:
    benchmark = listing.benchmark(LISTED)
    pages = tmp_path / "pages"
    where = ["--markdown", f"{pages}/page.md", "--plots", f"{pages}/plots"]
    text = written(benchmark, *where)
    assert "![Wall by pattern](plots/wall-by-pattern.svg)" in text
    assert (pages / "plots" / "wall-by-pattern.svg").exists()


def test_skipped_work_is_one_line() -> None:
    skipped = [Measurement(PATTERNS[0], "s3fs", "skipped", "no time was left")]
    assert "Not measured: no time was left." in written(listing.benchmark(skipped))
