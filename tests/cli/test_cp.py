"""`avroglob cp`: many files to a local directory."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import fsspec
import pytest

from tests.conftest import PutObjects
from tests.support.command import Cli, popen
from tests.support.proxy import FaultProxy, Request
from tests.support.servers import Endpoint


def files(directory: Path) -> dict[str, bytes]:
    """All that lies below a directory, hidden and partial files too."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def source(bucket: str, put: PutObjects) -> str:
    put({"d/a/1.avro": b"one", "d/b/1.avro": b"two", "d/b/x.txt": b"", "d/top": b"top"})
    return f"s3://{bucket}"


def test_keeps_dirs_below_literal_part(cli: Cli, source: str, tmp_path: Path) -> None:
    outcome = cli("cp", f"{source}/d/*/1.avro", tmp_path / "out")
    assert outcome == (0, "", "2 files, 6, checked\n")
    assert files(tmp_path / "out") == {"a/1.avro": b"one", "b/1.avro": b"two"}


def test_one_file_to_name_or_directory(cli: Cli, source: str, tmp_path: Path) -> None:
    cli("cp", f"{source}/d/top", tmp_path / "name")
    cli("cp", f"{source}/d/top", tmp_path)
    cli("cp", f"{source}/d/top", f"{tmp_path}/new/")
    assert set(files(tmp_path)) == {"name", "top", "new/top"}


def test_replaces_an_existing_file(cli: Cli, source: str, tmp_path: Path) -> None:
    (tmp_path / "name").write_text("old")
    assert cli("cp", f"{source}/d/top", tmp_path / "name") == (0, "", "1 file, 3, checked\n")
    assert files(tmp_path) == {"name": b"top"}


def test_directories_need_recursive(cli: Cli, source: str, tmp_path: Path) -> None:
    outcome = cli("cp", f"{source}/d", tmp_path / "out")
    assert outcome.code == 2
    assert "-r" in outcome.err
    assert cli("cp", "-r", f"{source}/d", tmp_path / "out").code == 0
    assert set(files(tmp_path / "out")) == {"a/1.avro", "b/1.avro", "b/x.txt", "top"}


def test_copies_every_source(cli: Cli, source: str, tmp_path: Path) -> None:
    local = tmp_path / "local.txt"
    local.write_bytes(b"local")
    memory = fsspec.filesystem("memory")
    memory.pipe("/cp-test/m", b"memory")
    try:
        outcome = cli("cp", f"{source}/d/to*", local, "memory://cp-test/m", f"{tmp_path}/out/")
    finally:
        memory.rm("/cp-test", recursive=True)
    assert outcome.code == 0
    assert files(tmp_path / "out") == {"top": b"top", "local.txt": b"local", "m": b"memory"}


def test_equal_targets_are_refused(cli: Cli, source: str, tmp_path: Path) -> None:
    outcome = cli("cp", f"{source}/d/a/1.avro", f"{source}/d/b/1.avro", f"{tmp_path}/out/")
    assert outcome.code == 1
    refused = f"avroglob: not copied: '{source}/d/b/1.avro': its file is that of"
    assert f"{refused} '{source}/d/a/1.avro'\n" in outcome.err
    assert files(tmp_path / "out") == {"1.avro": b"one"}


def test_json_says_what_was_checked(cli: Cli, source: str, tmp_path: Path) -> None:
    told = json.loads(cli("cp", "--json", f"{source}/d/to*", tmp_path).out)
    assert told == {
        "source": f"{source}/d/top",
        "target": f"{tmp_path}/top",
        "checked": "size, md5",
    }


def test_dry_run_writes_nothing(cli: Cli, source: str, tmp_path: Path) -> None:
    outcome = cli("cp", "-n", f"{source}/d/to*", tmp_path / "out")
    assert outcome.lines == [f"{source}/d/top -> {tmp_path}/out/top"]
    assert files(tmp_path) == {}


def test_existing_files_may_be_kept(cli: Cli, source: str, tmp_path: Path) -> None:
    (tmp_path / "top").write_bytes(b"old")
    assert cli("cp", "--skip-existing", f"{source}/d/to*", tmp_path).code == 0
    assert (tmp_path / "top").read_bytes() == b"old"
    assert cli("cp", f"{source}/d/to*", tmp_path).code == 0
    assert (tmp_path / "top").read_bytes() == b"top"


def test_no_key_escapes_the_target(cli: Cli, bucket: str, put: PutObjects, tmp_path: Path) -> None:
    hostile = ["d/../../up", "d/../up", "d/./x", "d/e/..", "d/" + "n" * 256]
    put({**dict.fromkeys(hostile, b"evil"), "d/good": b"1", "d//etc/x": b"2", "d/...": b"3"})

    outcome = cli("cp", f"s3://{bucket}/d/**", tmp_path / "in" / "out")

    assert outcome.code == 1
    for key in hostile:
        assert f"not copied: 's3://{bucket}/{key}': " in outcome.err
    assert outcome.err.count("not copied") == len(hostile)
    assert files(tmp_path) == {"in/out/good": b"1", "in/out/etc/x": b"2", "in/out/...": b"3"}


def test_dry_run_names_refused_keys(cli: Cli, bucket: str, put: PutObjects, tmp_path: Path) -> None:
    put({"d/../../up": b"evil", "d/good": b"1"})

    outcome = cli("cp", "-n", f"s3://{bucket}/d/**", tmp_path / "out")

    assert outcome.code == 1
    assert outcome.lines == [f"s3://{bucket}/d/good -> {tmp_path}/out/good"]
    assert "d/../../up" in outcome.err


def test_one_key_stays_in_directory(cli: Cli, bucket: str, put: PutObjects, tmp_path: Path) -> None:
    put({"d/..": b"evil"})

    assert cli("cp", f"s3://{bucket}/d/..", tmp_path / "name").code == 0
    assert cli("cp", f"s3://{bucket}/d/..", f"{tmp_path}/a/b/").code == 1
    assert files(tmp_path) == {"name": b"evil"}


def test_no_link_escapes_the_target(cli: Cli, source: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")

    outcome = cli("cp", f"{source}/d/*/1.avro", tmp_path / "out")

    assert outcome.code == 1
    assert f"'{source}/d/a/1.avro'" in outcome.err
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "out" / "b" / "1.avro").read_bytes() == b"two"


def test_file_in_place_of_dir_is_refused(
    cli: Cli, bucket: str, put: PutObjects, tmp_path: Path
) -> None:
    put({"d/x": b"", "d/x/y": b""})
    outcome = cli("cp", f"s3://{bucket}/d/**", tmp_path / "out")
    assert outcome.code == 1
    assert "a directory" in outcome.err
    assert files(tmp_path) == {"out/x/y": b""}


def test_target_must_be_local_dir(cli: Cli, source: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert cli("cp", f"{source}/d/*/*", tmp_path / "file").code == 2
    assert cli("cp", f"{source}/d/*/*", f"{source}/e").code == 2


def test_no_match_exits_1(cli: Cli, source: str, tmp_path: Path) -> None:
    assert cli("cp", f"{source}/none*", tmp_path).code == 1
    assert cli("cp", f"{source}/none", tmp_path).code == 1


def test_changed_object_is_an_error(
    cli: Cli, source: str, bucket: str, endpoint: Endpoint, proxy: FaultProxy, tmp_path: Path
) -> None:
    def change(request: Request) -> bool:
        endpoint.client().put_object(Bucket=bucket, Key="d/top", Body=b"new")
        return False

    proxy.delay("GetObject", 0, match=change)
    outcome = cli("cp", "--endpoint-url", proxy.url, f"{source}/d/to*", tmp_path)
    assert outcome.code == 3
    assert "d/top" in outcome.err
    assert files(tmp_path) == {}


def test_failure_leaves_no_part(cli: Cli, source: str, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.fail("GetObject", status=403, code="AccessDenied")
    outcome = cli("cp", "--endpoint-url", proxy.url, "-r", f"{source}/d", tmp_path / "out")
    assert outcome.code == 3
    assert files(tmp_path) == {}


def test_ctrl_c_leaves_no_part(
    source: str, endpoint: Endpoint, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.delay("GetObject", 30)
    environment = {
        "AWS_ACCESS_KEY_ID": endpoint.key,
        "AWS_SECRET_ACCESS_KEY": endpoint.secret,
        "AWS_ENDPOINT_URL": proxy.url,
    }
    arguments = ["cp", "-r", f"{source}/d", str(tmp_path / "out")]
    with popen(*arguments, stdout=subprocess.PIPE, env=environment) as process:
        proxy.wait_for("GetObject", process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.strip().endswith("avroglob: interrupted")
    assert "Traceback" not in errors
    assert files(tmp_path) == {}
