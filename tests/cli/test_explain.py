"""`avroglob explain`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from tests.support.command import Cli
from tests.support.proxy import FaultProxy


def test_explain_sends_nothing(cli: Cli, bucket: str, proxy: FaultProxy) -> None:
    outcome = cli("explain", "--endpoint-url", proxy.url, f"s3://{bucket}/a/*/x*")
    assert outcome == (
        0,
        f"{bucket}/a/*/x* in {bucket}\n"
        "└ descend into a/ (not listed)\n"
        "  └ level: LIST prefix=a/ delimiter=/\n"
        "    └ match: LIST prefix=a/*/x delimiter=/\n",
        "",
    )
    assert proxy.requests == []


def test_explain_run_shows_the_cost(cli: Cli, tree: str) -> None:
    outcome = cli("explain", "--run", f"s3://{tree}/*/*.avro")
    assert "[1 request, 4 keys seen, 2 kept]" in outcome.out
    assert outcome.lines[-1].startswith("1 request in ")


def test_explain_draws(cli: Cli, bucket: str, tmp_path: Path) -> None:
    drawing = tmp_path / "plan.svg"
    assert cli("explain", "--svg", drawing, f"s3://{bucket}/*/x") == (0, "", "")
    assert ET.parse(drawing).getroot().tag.endswith("svg")
    assert cli("explain", "--mermaid", f"s3://{bucket}/*/x").out.startswith("flowchart ")


def test_plans_are_for_s3(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("explain", f"{tmp_path}/*")
    assert outcome.code == 2
    assert "s3://" in outcome.err


def test_unwritable_drawing_exits_2(cli: Cli, bucket: str, tmp_path: Path) -> None:
    outcome = cli("explain", "--svg", tmp_path / "no" / "x.svg", f"s3://{bucket}/*")
    assert outcome.code == 2
    assert "x.svg" in outcome.err
