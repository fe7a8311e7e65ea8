"""A page that a benchmark writes names its command and shows the plots written beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks import avro_report, report
from benchmarks.process import command_line, parse, pictures
from benchmarks.scenarios import ALL, PATTERNS

MEASURED = [report.Measurement(PATTERNS[0], tool, status="ok", wall_s=0.1) for tool in ALL]
READ = [avro_report.Measurement(avro_report.MANY, "avroglob", status="ok", wall_s=0.1)]


@pytest.mark.parametrize(
    "page",
    [
        lambda **about: report.markdown(MEASURED, **about),
        lambda **about: avro_report.markdown(READ, **about),
    ],
    ids=["listing", "avro"],
)
def test_a_page_has_its_command_and_its_plots(page: Callable[..., str], tmp_path: Path) -> None:
    arguments = ["--markdown", f"{tmp_path}/pages/page.md", "--plots", f"{tmp_path}/pages/plots"]
    options = parse(command_line("listing", "", quick="a minute"), arguments)

    def plot(directory: Path) -> Sequence[Path]:
        return [directory / "wall-by-pattern.svg"]

    text = page(elapsed_s=1.0, command=options.command, pictures=pictures(options, plot))
    assert f"python -m benchmarks listing --markdown {tmp_path}/pages/page.md" in text
    assert "![Wall by pattern](plots/wall-by-pattern.svg)" in text


def test_what_there_was_no_time_for_is_one_line() -> None:
    skipped = [report.Measurement(PATTERNS[0], "s3fs", status="skipped", error="no time was left")]
    text = report.markdown(skipped, elapsed_s=1.0, command="", pictures=[])
    assert "Not measured: no time was left." in text
