"""Every example of the README, run in order against the demo's endpoint and data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from fsspec_avroglob.cli.demo import DemoServer, write_sample_events
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.config import ALIASES
from fsspec_avroglob.s3.retry import RetryPolicy
from tests.support.examples import Stage, blocks, run_console, run_python

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "README.md"
README = PATH.read_text()


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with DemoServer() as running:
        write_sample_events({**running.storage_options, "skip_instance_cache": True})
        yield running
    AvroGlobFileSystem.clear_instance_cache()


def test_every_block_is_tested() -> None:
    assert README.count("```") == 2 * len(blocks(README, "python", "console", "sh"))


def test_python_examples_hold(server: DemoServer) -> None:
    run_python(PATH, Stage.of_demo(server))


def test_console_examples_hold(server: DemoServer, tmp_path: Path) -> None:
    run_console(PATH, Stage.of_demo(server), tmp_path)


def test_commands_are_current() -> None:
    assert [block.text.strip() for block in blocks(README, "sh")] == [
        "pip install '.[demo]' && avroglob demo",
        "pip install '.[test]' && python -m pytest",
    ]


def test_comparison_is_current(server: DemoServer) -> None:
    rows = re.findall(r"^\| `(demo/\S+)` \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
    assert rows
    for pattern, ours, theirs in rows:
        counted = []
        for kind in (AvroGlobFileSystem, S3FileSystem):
            fs = kind(**server.storage_options, skip_instance_cache=True)
            server.requests.clear()
            assert fs.glob(pattern)
            counted.append(server.requests["ListObjectsV2"])
        assert counted == [int(ours), int(theirs)], pattern


def test_options_table_is_complete() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", README, re.MULTILINE)
    assert {name: tuple(re.findall(r"\w+", others)) for name, others in rows} == dict(ALIASES)


def test_default_policy_is_current() -> None:
    fields = ", ".join(f"{name}={value!r}" for name, value in RetryPolicy().to_dict().items())
    assert f"`RetryPolicy({fields})`" in README


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []
