"""The command as a process: signals, pipes, completion, missing extras."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import ROOT, popen


def test_ctrl_c_exits_130() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
        with popen("ls", "--endpoint-url", url, "s3://bucket/*", env=keys) as process:
            connection, _ = silent.accept()
            with closing(connection):
                connection.recv(1)  # the request is under way and gets no answer
                process.send_signal(signal.SIGINT)
                assert process.stderr is not None
                errors = process.stderr.read()
    assert process.returncode == 130
    assert errors.strip().endswith("avroglob: interrupted")
    assert "Traceback" not in errors


def test_closed_pipe_is_no_error(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number:0200}").touch()  # more than a pipe holds
    with popen("ls", f"{tmp_path}/*", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_click_completes() -> None:
    environment = {"_AVROGLOB_COMPLETE": "bash_source"}
    with popen(stdout=subprocess.PIPE, env=environment) as process:
        out, _ = process.communicate()
    assert "_avroglob_completion" in out


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_missing_extra_is_named(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import fsspec_avroglob\n"
        "from fsspec_avroglob.cli import main; sys.exit(main(['ls', 'x']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("avroglob: ")
    assert "pip install 'fsspec-avroglob[cli]'" in ended.stderr
