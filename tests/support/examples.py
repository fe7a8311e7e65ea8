"""Running the examples of a page of documentation.

Python blocks of a page share one namespace; an expression with a comment ``# -> value`` must have
that repr. They can be pasted into Python's prompt. In console blocks a command's output, where it
is shown, must be what it prints. A text block is what the Python block before it prints.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from fsspec_avroglob.cli.demo import DemoServer
from tests.support.servers import Endpoint

ROOT = Path(__file__).resolve().parents[2]
SERVED_AT = "http://127.0.0.1:5555"  # where a page's reader keeps the demo's endpoint


class Stage(NamedTuple):
    """Where examples are run, in place of the demo's endpoint, keys and bucket that pages name."""

    endpoint: Endpoint
    bucket: str

    @classmethod
    def of_demo(cls, server: DemoServer) -> Self:
        """The demo's endpoint itself."""
        return cls(Endpoint(server.endpoint_url, server.key, server.secret, server.region), "demo")

    def set_on(self, page: str) -> str:
        """The page as if it had been written for this stage."""
        for text, ours in (
            (SERVED_AT, self.endpoint.url),
            ('"key": "demo"', f'"key": "{self.endpoint.key}"'),
            ('"secret": "demo"', f'"secret": "{self.endpoint.secret}"'),
            ('key="demo"', f'key="{self.endpoint.key}"'),
            ('secret="demo"', f'secret="{self.endpoint.secret}"'),
        ):
            page = page.replace(text, ours)
        return re.sub(r"\bdemo(?=/)|(?<= in )demo$", self.bucket, page, flags=re.MULTILINE)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which any AWS client reaches the endpoint."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint.url,
            "AWS_ACCESS_KEY_ID": self.endpoint.key,
            "AWS_SECRET_ACCESS_KEY": self.endpoint.secret,
            "AWS_DEFAULT_REGION": self.endpoint.region,
        }


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int


def blocks(page: str, *languages: str) -> list[Block]:
    """The fenced blocks in some languages, in order."""
    fence = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    found = (
        Block(match[1], match[2], page.count("\n", 0, match.start()) + 2)
        for match in fence.finditer(page)
    )
    return [block for block in found if block.language in languages]


def run_python(path: Path, stage: Stage) -> None:
    """Run the Python blocks of a page, and hold what they give and print against what it shows."""
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    for block in blocks(stage.set_on(path.read_text()), "python", "text"):
        if block.language == "text":
            assert printed.getvalue() == block.text, f"{path.name}:{block.line}"
            continue
        printed = io.StringIO()
        lines = block.text.splitlines()
        with contextlib.redirect_stdout(printed):
            for statement in ast.parse(block.text).body:
                place = f"{path.name}:{block.line + statement.lineno - 1}"
                assert _ends_at_the_prompt(statement, lines), f"{place}: an empty line is missing"
                _run_statement(statement, lines, place, namespace)


def _run_statement(
    statement: ast.stmt, lines: list[str], place: str, namespace: dict[str, Any]
) -> None:
    last = _last_expression(statement)
    if last is None or "  # -> " not in lines[(last.end_lineno or last.lineno) - 1]:
        exec(compile(ast.Module([statement], []), place, "exec"), namespace)
        return
    expected = lines[(last.end_lineno or last.lineno) - 1].partition("  # -> ")[2]
    seen: list[object] = []
    namespace["_seen"] = seen.append
    call = ast.Call(ast.Name("_seen", ast.Load()), [last.value], [])
    ast.copy_location(call, last.value)
    last.value = call
    tree = ast.fix_missing_locations(ast.Module([statement], []))
    exec(compile(tree, place, "exec"), namespace)
    assert list(map(repr, seen)) == [expected], place


def _last_expression(statement: ast.stmt) -> ast.Expr | None:
    """The expression that a statement is or, within a block, ends with."""
    while not isinstance(statement, ast.Expr):
        inner = [statement]
        if isinstance(statement, ast.Try) and statement.handlers:
            inner = statement.handlers[-1].body
        elif isinstance(statement, ast.With):
            inner = statement.body
        if inner == [statement]:
            return None
        statement = inner[-1]
    return statement


def _ends_at_the_prompt(statement: ast.stmt, lines: list[str]) -> bool:
    """Whether an empty line, or the block's end, follows what is only done after one."""
    end = statement.end_lineno or statement.lineno
    return not hasattr(statement, "body") or not any(lines[end : end + 1])


def shell_environment(stage: Stage, directory: Path) -> dict[str, str]:
    """An environment in which `avroglob` is this checkout's and finds the stage's endpoint."""
    command = directory / "bin" / "avroglob"
    command.parent.mkdir()
    command.write_text(
        f"#!{sys.executable}\nimport sys\nfrom fsspec_avroglob.cli import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **stage.environment, "PATH": path, "PYTHONPATH": str(ROOT)}


def run_console(path: Path, stage: Stage, directory: Path) -> None:
    """Run the console blocks of a page with bash in an empty directory; compare what is shown."""
    environment = shell_environment(stage, directory)
    for commands, shown in _sessions(stage.set_on(path.read_text())):
        script = "".join(
            f"{c}\nstatus=$?; printf '\\0%s\\0' $status; (exit $status)\n" for c in commands
        )
        ended = subprocess.run(
            ["bash"],
            input=script,
            env=environment,
            cwd=directory,
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
                assert output == expected, f"{path.name}: {command}"
            else:
                assert status == "0", f"{path.name}: {command}\n{output}"
        assert len(printed) == 2 * len(commands) + 1, ended.stdout


def _sessions(page: str) -> Iterator[tuple[list[str], list[str]]]:
    """The commands of each console block, and what is shown below each."""
    for block in blocks(page, "console"):
        parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
        yield parts[1::2], parts[2::2]
