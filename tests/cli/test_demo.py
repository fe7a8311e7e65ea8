"""The demo: its endpoint, its data, its tour, and that nothing of them is left."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import ClientError

from fsspec_avroglob.cli import main
from fsspec_avroglob.cli.demo import (
    DemoServer,
    s3_operation,
    user_aws_settings_hidden,
    write_sample_events,
)
from fsspec_avroglob.cli.tour import COMPARED_PATTERNS, TOUR_PATTERN, run_tour
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.readers.read import iter_avro_records

ROOT = Path(__file__).resolve().parents[2]


def filesystem(server: DemoServer) -> AvroGlobFileSystem:
    return AvroGlobFileSystem(
        **server.storage_options, skip_instance_cache=True, retry={"base_delay": 0}
    )


def server_threads() -> list[str]:
    return [
        t.name for t in threading.enumerate() if "process_request" in t.name or "demo" in t.name
    ]


@pytest.mark.parametrize(
    ("request_line", "operation"),
    [
        ("GET /b?list-type=2&prefix=a%2F", "ListObjectsV2"),
        ("GET /b/?list-type=2", "ListObjectsV2"),
        ("PUT /b", "PutBucket"),
        ("GET /b/k", "GetObject"),
        ("HEAD /b/k", "HeadObject"),
        ("PUT /b/k/l", "PutObject"),
        ("DELETE /b/k", "DeleteObject"),
    ],
)
def test_requests_have_s3_names(request_line: str, operation: str) -> None:
    method, _, target = request_line.partition(" ")
    path, _, query = target.partition("?")
    assert s3_operation(method, path, query) == operation


class TestDemoServer:
    def test_counts_requests_by_operation(self) -> None:
        with DemoServer() as server:
            fs = filesystem(server)
            fs.mkdir("counted")
            fs.pipe("counted/a/x", b"1")
            server.requests.clear()
            assert fs.glob("counted/a/*") == ["counted/a/x"]
            fs.cat_file("counted/a/x")
            assert server.requests == {"ListObjectsV2": 1, "GetObject": 1}

    @pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
    def test_answers_slow_down(self, operation: str) -> None:
        with DemoServer() as server:
            fs = filesystem(server)
            fs.mkdir("slow")
            fs.pipe("slow/x", b"1")
            fs.invalidate_cache()
            server.failures[operation] += 1
            server.requests.clear()
            assert fs.cat_file("slow/x") if operation == "GetObject" else fs.info("slow/x")
            assert server.requests[operation] == 2

    def test_leaves_nothing_behind(self) -> None:
        with DemoServer() as server:
            write_sample_events({**server.storage_options, "skip_instance_cache": True})
            port = int(server.endpoint_url.rpartition(":")[2])
        assert server_threads() == []
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        with DemoServer() as later:
            assert client(later).list_buckets()["Buckets"] == []

    def test_ends_when_its_block_fails(self) -> None:
        with pytest.raises(LookupError), DemoServer():
            raise LookupError
        assert server_threads() == []

    def test_environment_leads_to_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with DemoServer() as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            s3 = botocore.session.Session().create_client("s3")
            with pytest.raises(ClientError, match="NoSuchBucket"):
                s3.list_objects_v2(Bucket="nothing-there")
            assert server.requests == {"ListObjectsV2": 1}

    def test_taken_port_is_os_error(self) -> None:
        with DemoServer() as server, pytest.raises(OSError, match="in use"):  # noqa: SIM117
            with DemoServer(int(server.endpoint_url.rpartition(":")[2])):
                pass


def client(server: DemoServer) -> object:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
        region_name=server.region,
    )


class TestSampleData:
    def test_is_what_it_says(self) -> None:
        with DemoServer() as server:
            options = server.storage_options
            sample = write_sample_events(options)
            everything = "avroglob://demo/events/**/*.avro"
            ids = [
                record["id"] for record in iter_avro_records(everything, storage_options=options)
            ]
            sizes = filesystem(server).find("demo", detail=True)
        assert (sample.files, sample.rows) == (len(sizes), len(ids))
        assert sample.size_bytes == sum(info["size"] for info in sizes.values())
        assert ids == list(range(1, sample.rows + 1))


@pytest.fixture(scope="module")
def shown() -> str:
    """What one tour prints where the user's AWS settings would lead astray."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_PROFILE": "nobody",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_SESSION_TOKEN": "stale",
            "HTTP_PROXY": "http://127.0.0.1:1",
        }.items():
            patch.setenv(name, value)
        before, printed = dict(os.environ), io.StringIO()
        with redirect_stdout(printed):
            run_tour()
        assert dict(os.environ) == before
    return printed.getvalue()


class TestTour:
    def test_compares_requests_with_s3fs(self, shown: str) -> None:
        ours, theirs = (
            re.search(rf"{name} +(\d+) paths +(\d+) ListObjectsV2 ", shown)
            for name in ("avroglob", "s3fs")
        )
        assert ours is not None
        assert theirs is not None
        assert ours[1] == theirs[1] == "24"
        assert int(ours[2]) < int(theirs[2])
        assert all(pattern in shown for pattern in COMPARED_PATTERNS)

    def test_shows_a_frame(self, shown: str) -> None:
        assert "1,200 rows x 8 columns" in shown
        assert "purchase" in shown

    def test_shows_the_code_to_type(self, shown: str) -> None:
        assert f'    paths = fs.glob("{TOUR_PATTERN}")' in shown
        assert "    df = read_avro(" in shown

    def test_leaves_no_thread(self, shown: str) -> None:
        assert shown
        assert server_threads() == []

    def test_command_prints_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["demo"]) == 0
        captured = capsys.readouterr()
        assert "Glob it\n-------" in captured.out
        (retry,) = captured.err.splitlines()
        assert "retry 1 of 2 in 0.25 s" in retry


def test_serve_refuses_a_taken_port(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["demo", "--serve", "--port", str(port)]) == 2
    assert capsys.readouterr().err.startswith(f"avroglob: --port {port}: ")


def test_hidden_settings_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    with user_aws_settings_hidden():
        assert "AWS_PROFILE" not in os.environ
    assert os.environ["AWS_PROFILE"] == "mine"


@pytest.mark.parametrize("missing", ["moto", "flask", "pandas"])
def test_missing_extra_is_named(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from fsspec_avroglob.cli import main; sys.exit(main(['demo']))"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("avroglob: ")
    assert "pip install 'fsspec-avroglob[demo]'" in ended.stderr


def test_serve_runs_until_ctrl_c() -> None:
    code = "import sys; from fsspec_avroglob.cli import main; sys.exit(main(['demo', '--serve']))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Serving"):
                break
        url = lines[0].removeprefix("export AWS_ENDPOINT_URL=")
        fs = AvroGlobFileSystem(
            endpoint_url=url, key="demo", secret="demo", skip_instance_cache=True
        )
        found = len(fs.glob("demo/events/**/*.avro"))
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, "")
    assert f"# {found} files" in lines[-2]
