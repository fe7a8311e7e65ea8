"""Every example of the README, run in order against the demo's endpoint and data.

Python blocks share one namespace; an expression with a comment ``# -> value`` must have that repr.
In console blocks a command's output, where it is shown, must be what it prints.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from s3fs import S3FileSystem

from fsspec_avroglob.demo import DemoServer, write_sample_events
from fsspec_avroglob.filesystem import AvroGlobFileSystem
from fsspec_avroglob.options import ALIASES
from fsspec_avroglob.retry import RetryPolicy

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SERVED_AT = "http://127.0.0.1:5555"  # where the README's reader keeps the demo's endpoint


class Block(NamedTuple):
    """A fenced block of the README."""

    language: str
    text: str
    line: int


def blocks(*languages: str) -> list[Block]:
    fence = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    found = (
        Block(match[1], match[2], README.count("\n", 0, match.start()) + 2)
        for match in fence.finditer(README)
    )
    return [block for block in found if block.language in languages]


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with DemoServer() as running:
        write_sample_events({**running.storage_options, "skip_instance_cache": True})
        yield running
    AvroGlobFileSystem.clear_instance_cache()


def test_every_block_has_a_language_that_is_tested() -> None:
    assert README.count("```") == 2 * len(blocks("python", "console", "sh"))


def test_python_examples_give_what_they_say(server: DemoServer) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks("python"):
        source = block.text.replace(SERVED_AT, server.endpoint_url)
        lines = source.splitlines()
        for statement in ast.parse(source).body:
            place = f"README.md:{block.line + statement.lineno - 1}"
            expected = lines[(statement.end_lineno or statement.lineno) - 1].partition("  # -> ")[2]
            if isinstance(statement, ast.Expr):
                code = compile(ast.Expression(statement.value), place, "eval")
                value = eval(code, namespace)
                assert not expected or _plain(value) == expected, place
            else:
                exec(compile(ast.Module([statement], []), place, "exec"), namespace)


def _plain(value: object) -> str:
    """The repr of a value, of a number of NumPy's as Python would write it."""
    return repr(value.item() if hasattr(value, "item") else value)


@pytest.fixture
def shell_environment(server: DemoServer, tmp_path: Path) -> dict[str, str]:
    """An environment in which `avroglob` is this checkout's and finds the demo's endpoint."""
    command = tmp_path / "avroglob"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nfrom fsspec_avroglob.cli import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **server.environment, "PATH": path, "PYTHONPATH": str(ROOT)}


def test_console_examples_print_what_they_show(shell_environment: dict[str, str]) -> None:
    for block in blocks("console"):
        commands, shown = _session(block.text)
        script = "".join(
            f"{c}\nstatus=$?; printf '\\0%s\\0' $status; (exit $status)\n" for c in commands
        )
        ended = subprocess.run(
            ["bash"],
            input=script,
            env=shell_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed = ended.stdout.split("\0")
        for command, expected, output, status in zip(
            commands, shown, printed[0::2], printed[1::2], strict=False
        ):
            if expected:
                assert output == expected, command
            else:
                assert status == "0", f"{command}\n{output}"
        assert len(printed) == 2 * len(commands) + 1, ended.stdout


def _session(text: str) -> tuple[list[str], list[str]]:
    """The commands of a console block, and what is shown below each."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    return parts[1::2], parts[2::2]


def test_the_two_commands_are_those_of_the_project() -> None:
    assert [block.text.strip() for block in blocks("sh")] == [
        "pip install '.[demo]' && avroglob demo",
        "pip install '.[test]' && python -m pytest",
    ]


def test_the_comparison_is_what_the_endpoint_counts(server: DemoServer) -> None:
    rows = re.findall(r"^\| `(demo/\S+)` \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
    assert rows
    for pattern, ours, theirs in rows:
        counted = []
        for kind in (AvroGlobFileSystem, S3FileSystem):
            fs = kind(**server.storage_options, skip_instance_cache=True)
            server.forget_requests()
            assert fs.glob(pattern)
            counted.append(server.requests["ListObjectsV2"])
        assert counted == [int(ours), int(theirs)], pattern


def test_the_options_table_has_every_spelling() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", README, re.MULTILINE)
    assert {name: tuple(re.findall(r"\w+", others)) for name, others in rows} == dict(ALIASES)


def test_the_default_policy_is_the_one_shown() -> None:
    fields = ", ".join(f"{name}={value!r}" for name, value in RetryPolicy().to_dict().items())
    assert f"`RetryPolicy({fields})`" in README


def test_links_inside_the_project_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []
