"""The `avroglob` command: what it prints, where, and with which exit code."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import fsspec
import pytest

from fsspec_avroglob.cli import main
from fsspec_avroglob.cli.commands import Settings
from fsspec_avroglob.cli.errors import UsageProblem
from fsspec_avroglob.cli.output import human_size, json_line
from fsspec_avroglob.filesystem import AvroGlobFileSystem
from tests.conftest import PutObjects
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from fsspec_avroglob.cli import main; sys.exit(main())",
]
SCHEMA = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "note", "type": ["null", "string"]},
    ],
}


class Outcome(NamedTuple):
    """What a run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Cli = Callable[..., Outcome]


class BrokenFileSystem(fsspec.AbstractFileSystem):
    """A filesystem with a bug."""

    protocol = "broken"

    def glob(self, path: str, **options: Any) -> Any:
        return 1 / 0


fsspec.register_implementation("broken", BrokenFileSystem)


def avro(*ids: int) -> bytes:
    body = io.BytesIO()
    at = dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    rows = [{"id": i, "at": at, "note": None if i % 2 else f"n{i}"} for i in ids]
    fastavro.writer(body, SCHEMA, rows)
    return body.getvalue()


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], endpoint: Endpoint
) -> Cli:
    """Run the command in this process; the environment leads to `endpoint`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", endpoint.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", endpoint.secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", endpoint.region)

    def run(*arguments: object) -> Outcome:
        AvroGlobFileSystem.clear_instance_cache()  # the environment is no part of its key
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def tree(bucket: str, put: PutObjects) -> str:
    put({"a/1.avro": avro(1, 2), "a/2.avro": avro(3), "a/x.txt": b"12345", "b/c/3.avro": avro(4)})
    return bucket


def popen(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment, text=True, stderr=subprocess.PIPE, **options
    )


class TestLs:
    @pytest.mark.parametrize("scheme", ["s3", "s3a", "avroglob"])
    def test_prints_matches_sorted_under_the_scheme_that_was_asked_for(
        self, cli: Cli, tree: str, scheme: str
    ) -> None:
        outcome = cli("ls", f"{scheme}://{tree}/**/*.avro")
        names = ["a/1.avro", "a/2.avro", "b/c/3.avro"]
        assert outcome == (0, "".join(f"{scheme}://{tree}/{name}\n" for name in names), "")

    def test_ends_directories_with_a_slash(self, cli: Cli, tree: str) -> None:
        assert cli("ls", f"s3://{tree}/*").lines == [f"s3://{tree}/a/", f"s3://{tree}/b/"]

    def test_lists_only_directories_for_a_pattern_that_ends_with_a_slash(
        self, cli: Cli, tree: str
    ) -> None:
        assert cli("ls", f"s3://{tree}/b/*/").lines == [f"s3://{tree}/b/c/"]

    def test_lists_the_content_of_a_directory_named_without_wildcards(
        self, cli: Cli, tree: str
    ) -> None:
        names = [f"s3://{tree}/a/{name}" for name in ("1.avro", "2.avro", "x.txt")]
        assert cli("ls", f"s3://{tree}/a").lines == names
        assert cli("ls", f"s3://{tree}/a/").lines == names

    def test_lists_a_file_named_without_wildcards(self, cli: Cli, tree: str) -> None:
        assert cli("ls", f"s3://{tree}/a/x.txt").lines == [f"s3://{tree}/a/x.txt"]

    def test_understands_the_whole_grammar_on_s3(self, cli: Cli, tree: str) -> None:
        outcome = cli("ls", f"s3://{tree}/{{a,b/c}}/{{1..3}}.avro")
        assert [line.removeprefix(f"s3://{tree}/") for line in outcome.lines] == [
            "a/1.avro",
            "a/2.avro",
            "b/c/3.avro",
        ]

    def test_long_form_shows_size_and_time(self, cli: Cli, tree: str) -> None:
        size, modified, path = cli("ls", "-l", f"s3://{tree}/a/x*").out.split()
        age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(modified)
        assert (size, path) == ("5", f"s3://{tree}/a/x.txt")
        assert abs(age) < dt.timedelta(minutes=10)

    def test_human_readable_form_shows_short_sizes(
        self, cli: Cli, bucket: str, put: PutObjects
    ) -> None:
        put({"big": b"x" * 1536})
        assert cli("ls", "-h", f"s3://{bucket}/*").out.split()[0] == "1.5K"

    def test_json_form_is_one_object_a_line(self, cli: Cli, tree: str) -> None:
        entries = [json.loads(line) for line in cli("ls", "--json", f"s3://{tree}/a/*").lines]
        assert entries[2].keys() == {"path", "type", "size", "modified", "etag"}
        assert (entries[2]["path"], entries[2]["size"]) == (f"s3://{tree}/a/x.txt", 5)
        directory = json.loads(cli("ls", "--json", f"s3://{tree}/b/*").out)
        assert directory["path"] == f"s3://{tree}/b/c/"
        assert directory["type"] == "directory"

    def test_a_pattern_without_a_match_exits_1_and_does_not_hide_the_others(
        self, cli: Cli, tree: str
    ) -> None:
        outcome = cli("ls", f"s3://{tree}/a/*.csv", f"s3://{tree}/a/*.txt", f"s3://{tree}/no")
        assert outcome.code == 1
        assert outcome.lines == [f"s3://{tree}/a/x.txt"]
        assert outcome.err == (
            f"avroglob: nothing matches s3://{tree}/a/*.csv\n"
            f"avroglob: nothing matches s3://{tree}/no\n"
        )

    def test_lists_relative_local_paths_with_braces(
        self, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a1", "a2", "b1", "c1"):
            (tmp_path / name).touch()
        monkeypatch.chdir(tmp_path)
        assert cli("ls", "{a,b}*").lines == ["a1", "a2", "b1"]

    def test_keeps_absolute_local_paths_absolute(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        assert cli("ls", f"{tmp_path}/*").lines == [f"{tmp_path}/x"]

    def test_lists_other_fsspec_urls(self, cli: Cli) -> None:
        memory = fsspec.filesystem("memory")
        memory.pipe("/cli-test/x.avro", b"1")
        try:
            assert cli("ls", "memory://cli-test/*").lines == ["memory:///cli-test/x.avro"]
        finally:
            memory.rm("/cli-test", recursive=True)

    @pytest.mark.parametrize(("no_color", "styled"), [({}, True), ({"NO_COLOR": "1"}, False)])
    def test_a_terminal_gets_colour_unless_no_color_is_set_and_never_a_key_s_control_characters(
        self, tmp_path: Path, no_color: dict[str, str], styled: bool
    ) -> None:
        (tmp_path / "dir").mkdir()
        (tmp_path / "bell\x07").touch()
        master, slave = pty.openpty()
        environment = {"TERM": "xterm-256color", "COLUMNS": "20", **no_color}
        with popen("ls", f"{tmp_path}/*", stdout=slave, env=environment) as process:
            os.close(slave)
            shown = _read_all(master)
        assert process.returncode == 0
        assert ("\x1b[1;34m" in shown) is styled
        assert "bell\\x07" in shown
        assert f"{tmp_path}/dir/" in shown  # not wrapped


def _read_all(descriptor: int) -> str:
    chunks = []
    with open(descriptor, "rb", buffering=0) as terminal:
        try:
            while chunk := terminal.read(4096):
                chunks.append(chunk)
        except OSError:  # a terminal whose other end is closed reads as an error on Linux
            pass
    return b"".join(chunks).decode()


class TestSchemaAndHead:
    def test_schema_prints_the_schema_as_json(self, cli: Cli, tree: str) -> None:
        for path in (f"s3://{tree}/a/1.avro", f"s3://{tree}/**/*.avro"):
            outcome = cli("schema", path)
            assert outcome.code == 0
            fields = json.loads(outcome.out)["fields"]
            assert [field["name"] for field in fields] == ["id", "at", "note"]

    def test_head_prints_a_table_over_files(self, cli: Cli, tree: str) -> None:
        outcome = cli("head", "-n", "3", f"s3://{tree}/**/*.avro")
        assert [line.split() for line in outcome.lines] == [
            ["id", "at", "note"],
            ["1", "2025-01-02T03:04:05+00:00"],
            ["2", "2025-01-02T03:04:05+00:00", "n2"],
            ["3", "2025-01-02T03:04:05+00:00"],
        ]

    def test_head_json_prints_one_record_a_line(self, cli: Cli, tree: str) -> None:
        outcome = cli("head", "--json", f"s3://{tree}/a/1.avro", f"s3://{tree}/b/**/*.avro")
        assert [json.loads(line)["id"] for line in outcome.lines] == [1, 2, 4]
        assert json.loads(outcome.lines[0]) == {
            "id": 1,
            "at": "2025-01-02T03:04:05+00:00",
            "note": None,
        }

    def test_head_stops_at_n_over_several_patterns(self, cli: Cli, tree: str) -> None:
        arguments = (f"s3://{tree}/a/2.avro", f"s3://{tree}/a/1.avro")
        outcome = cli("head", "--json", "-n", "2", *arguments)
        assert [json.loads(line)["id"] for line in outcome.lines] == [3, 1]
        assert cli("head", "--json", "-n", "0", *arguments) == (0, "", "")

    def test_head_shows_values_that_are_no_records(self, cli: Cli, tmp_path: Path) -> None:
        with (tmp_path / "numbers.avro").open("wb") as file:
            fastavro.writer(file, "long", [7, 8])
        assert cli("head", tmp_path / "numbers.avro").out.split() == ["value", "7", "8"]
        assert cli("head", "--json", tmp_path / "numbers.avro").lines == ["7", "8"]

    @pytest.mark.parametrize("command", ["schema", "head"])
    def test_a_file_that_is_not_avro_exits_2_and_is_named(
        self, cli: Cli, tree: str, command: str
    ) -> None:
        outcome = cli(command, f"s3://{tree}/a/x.txt")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("avroglob: ")
        assert f"{tree}/a/x.txt" in outcome.err

    @pytest.mark.parametrize("command", ["schema", "head"])
    def test_nothing_matched_exits_1_and_names_the_pattern(
        self, cli: Cli, tree: str, command: str
    ) -> None:
        outcome = cli(command, f"s3://{tree}/none/*.avro")
        assert (outcome.code, outcome.out) == (1, "")
        assert f"s3://{tree}/none/*.avro" in outcome.err

    def test_json_holds_values_that_json_has_no_word_for(self) -> None:
        values = {"f": float("nan"), "i": float("-inf"), "b": b"\xff", "d": dt.date(2025, 1, 2)}
        assert json.loads(json_line([values])) == [
            {"f": "NaN", "i": "-Infinity", "b": "ÿ", "d": "2025-01-02"}
        ]


class TestUsage:
    def test_an_invalid_pattern_exits_2_and_is_shown_with_a_caret(
        self, cli: Cli, bucket: str
    ) -> None:
        outcome = cli("ls", f"s3://{bucket}/a{{b")
        message, pattern, caret = outcome.err.splitlines()
        assert (outcome.code, outcome.out) == (2, "")
        assert message.startswith("avroglob: ")
        assert pattern[caret.index("^")] == "{"

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["-o", "max_retrys=1"], "max_retries"),
            (["--region", "a", "-o", "aws_region=b"], "region"),
            (["--region", "a", "-o", "region=b"], "--region"),
            (["--no-sign-request", "-o", "anon=false"], "--no-sign-request"),
            (["-o", "nonsense"], "NAME=VALUE"),
            (["-o", "retry={"], "not valid JSON"),
            (["-o", "key=a", "-o", "key=b"], "twice"),
            (["--max-retries", "-1"], "--max-retries"),
            (["--max-retries", "x"], "--max-retries"),
            (["--frobnicate"], "--frobnicate"),
            (["--endpoint-url", "127.0.0.1:9000"], "127.0.0.1:9000"),
            (["--profile", "nobody"], "nobody"),
            (["--region", "no region"], "no region"),
        ],
    )
    def test_wrong_options_exit_2_and_are_named(
        self, cli: Cli, bucket: str, arguments: list[str], told: str
    ) -> None:
        outcome = cli("ls", *arguments, f"s3://{bucket}/*")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("avroglob: ")
        assert told in outcome.err
        assert "Traceback" not in outcome.err

    @pytest.mark.parametrize("arguments", [["ls"], ["frob"], ["demo", "--port", "1"]])
    def test_incomplete_command_lines_exit_2(self, cli: Cli, arguments: list[str]) -> None:
        outcome = cli(*arguments)
        assert outcome.code == 2
        assert outcome.err.startswith("avroglob: ")

    def test_a_glob_over_all_buckets_is_refused(self, cli: Cli) -> None:
        outcome = cli("ls", "s3://*/x")
        assert outcome.code == 2
        assert outcome.err.startswith("avroglob: ")

    def test_no_arguments_show_the_help_and_exit_2(self, cli: Cli) -> None:
        outcome = cli()
        assert (outcome.code, outcome.out) == (2, "")
        assert "Usage: avroglob" in outcome.err

    @pytest.mark.parametrize("command", ["", "ls", "schema", "head", "demo"])
    def test_help_has_examples_and_exits_0(self, cli: Cli, command: str) -> None:
        outcome = cli(*command.split(), "--help")
        assert (outcome.code, outcome.err) == (0, "")
        assert f"  avroglob {command}" in outcome.out.partition("Examples:")[2]

    def test_version_names_the_libraries(self, cli: Cli) -> None:
        outcome = cli("--version")
        assert outcome.code == 0
        assert outcome.out.startswith("avroglob ")
        assert "s3fs " in outcome.out

    def test_s3_options_do_not_reach_other_filesystems(self) -> None:
        settings = Settings.from_parameters(region="r", option=["auto_mkdir=true"])
        assert settings.storage_options("/x") == {"auto_mkdir": True}
        assert settings.storage_options("s3://b/x") == {"region": "r", "auto_mkdir": True}

    def test_the_region_comes_from_aws_region_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert Settings.from_parameters().s3_options == {"region": "eu-west-1"}
        assert Settings.from_parameters(region="x").s3_options == {"region": "x"}

    def test_an_option_repeated_with_the_same_value_is_no_contradiction(self) -> None:
        settings = Settings.from_parameters(region="r", option=["region=r", "region=r"])
        assert settings.storage_options("s3://b") == {"region": "r"}
        with pytest.raises(UsageProblem):
            Settings.from_parameters(option=["=x"])


class TestStorageErrors:
    def test_options_may_stand_before_the_command(
        self, cli: Cli, tree: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        before = cli("--endpoint-url", endpoint.url, "ls", f"s3://{tree}/a/x*")
        after = cli("ls", "--endpoint-url", endpoint.url, f"s3://{tree}/a/x*")
        assert before == after == (0, f"s3://{tree}/a/x.txt\n", "")

    def test_ls_of_a_bucket_lists_it_and_of_none_lists_buckets(self, cli: Cli, tree: str) -> None:
        assert cli("ls", f"s3://{tree}").lines == [f"s3://{tree}/a/", f"s3://{tree}/b/"]
        assert f"s3://{tree}/" in cli("ls", "s3://").lines
        assert cli("ls", f"s3://{tree}-missing").code == 3

    @pytest.mark.parametrize("command", ["ls", "schema", "head"])
    @pytest.mark.parametrize("key", ["a/*.avro", "a/1.avro"])
    def test_a_bucket_that_does_not_exist_exits_3(
        self, cli: Cli, bucket: str, command: str, key: str
    ) -> None:
        outcome = cli(command, f"s3://{bucket}-missing/{key}")
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.startswith("avroglob: ")
        assert "Check the bucket's name" in outcome.err

    @pytest.mark.parametrize("command", ["ls", "schema", "head"])
    def test_access_denied_exits_3_and_tells_how_to_give_credentials(
        self, cli: Cli, tree: str, proxy: FaultProxy, command: str
    ) -> None:
        proxy.fail("ListObjectsV2", status=403, code="AccessDenied")
        outcome = cli(command, "--endpoint-url", proxy.url, f"s3://{tree}/a/*.avro")
        assert (outcome.code, outcome.out) == (3, "")
        assert "--profile" in outcome.err
        assert "Traceback" not in outcome.err

    def test_missing_credentials_exit_3(
        self, cli: Cli, tree: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        outcome = cli("ls", f"s3://{tree}/*")
        assert (outcome.code, outcome.out) == (3, "")
        assert "--no-sign-request" in outcome.err

    def test_an_endpoint_that_nobody_serves_exits_3(self, cli: Cli) -> None:
        with closing(socket.socket()) as unheard:
            unheard.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
            url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
            outcome = cli("ls", "--max-retries", 0, "--endpoint-url", url, "s3://bucket/*")
        assert (outcome.code, outcome.out) == (3, "")
        assert url in outcome.err
        assert "--endpoint-url" in outcome.err

    def test_a_web_server_that_nobody_runs_is_not_taken_for_a_missing_file(self, cli: Cli) -> None:
        with closing(socket.socket()) as unheard:
            unheard.bind(("127.0.0.1", 0))
            outcome = cli("ls", f"http://127.0.0.1:{unheard.getsockname()[1]}/x")
        assert (outcome.code, outcome.out) == (3, "")

    def test_a_failure_after_retries_tells_of_the_attempts_and_sends_no_more_than_asked(
        self, cli: Cli, tree: str, proxy: FaultProxy
    ) -> None:
        proxy.fail("ListObjectsV2", status=503, code="SlowDown")
        retry = ["--max-retries", 1, "-o", 'retry={"base_delay": 0}']
        outcome = cli("ls", *retry, "--endpoint-url", proxy.url, f"s3://{tree}/a/*")
        assert outcome.code == 3
        assert proxy.count("ListObjectsV2") == 2
        assert "failed after 2 attempts" in outcome.err
        assert "--max-retries" in outcome.err

    def test_a_retry_that_helps_is_a_warning_on_stderr(
        self, cli: Cli, tree: str, proxy: FaultProxy
    ) -> None:
        proxy.fail("ListObjectsV2", status=503, code="SlowDown", times=1)
        retry = ["-o", 'retry={"base_delay": 0}']
        outcome = cli("ls", *retry, "--endpoint-url", proxy.url, f"s3://{tree}/a/x*")
        assert outcome[:2] == (0, f"s3://{tree}/a/x.txt\n")
        assert outcome.err.startswith("avroglob: ")
        assert "retry 1 of 2" in outcome.err

    def test_debug_shows_the_traceback(self, cli: Cli, bucket: str) -> None:
        outcome = cli("ls", "--debug", f"s3://{bucket}/a{{b")
        assert outcome.code == 2
        assert "Traceback" in outcome.err
        assert "\navroglob: Invalid pattern" in outcome.err

    def test_an_error_that_nobody_foresaw_is_reported_as_a_bug(self, cli: Cli) -> None:
        outcome = cli("ls", "broken://x/*")
        assert (outcome.code, outcome.out) == (70, "")
        assert "ZeroDivisionError" in outcome.err
        assert "this is a bug" in outcome.err


class TestProcess:
    def test_ctrl_c_exits_130_without_a_traceback(self) -> None:
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

    def test_a_reader_that_goes_away_is_no_error(self, tmp_path: Path) -> None:
        for number in range(1000):
            (tmp_path / f"{number:0200}").touch()  # more than a pipe holds
        with popen("ls", f"{tmp_path}/*", stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 141

    def test_completion_is_click_s(self) -> None:
        environment = {"_AVROGLOB_COMPLETE": "bash_source"}
        with popen(stdout=subprocess.PIPE, env=environment) as process:
            out, _ = process.communicate()
        assert "_avroglob_completion" in out

    @pytest.mark.parametrize("missing", ["click", "rich"])
    def test_without_its_extra_it_names_the_extra_and_exits_2(self, missing: str) -> None:
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


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (999, "999"), (1023, "1023"), (1024, "1.0K"), (1536, "1.5K"), (10_240, "10K"),
     (1024**2 - 1, "1.0M"), (20 * 1024**2, "20M"), (1024**3, "1.0G"), (5 * 1024**5, "5P")],
)  # fmt: skip
def test_sizes_are_short(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.fixture(autouse=True)
def _instances_do_not_outlive_their_test() -> Iterator[None]:
    yield
    AvroGlobFileSystem.clear_instance_cache()
