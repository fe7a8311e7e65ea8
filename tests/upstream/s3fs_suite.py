"""Runs s3fs's own test-suite on `AvroGlobFileSystem`, and what fails there on `S3FileSystem` too.

    python -m tests.upstream.s3fs_suite [--sdist FILE] [pytest arguments]

The suite is not installed with s3fs, it ships in the source distribution, which is downloaded with
pip in the installed version unless `--sdist` names it. Pytest arguments choose among the tests
(`-k glob`) or change how they run (`-x`, `-n 2`). Exit status 1 means that a test passes for s3fs
and not for this package.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_CLASSES = {
    "avroglob": "fsspec_avroglob.filesystem.core:AvroGlobFileSystem",
    "s3fs": "s3fs.core:S3FileSystem",
}

_FILE = "s3fs/tests/test_s3fs.py::"
_NO_BUCKET = "a path below a bucket makes no bucket (docs/how-to/from-s3fs.md)"

_CHANGED = _FILE + "test_raise_exception_when_file_has_changed_during_reading"
_READ_AT_ONCE = "`open` reads a small file at once: a later change of the object does not show"

_COPIES = "info dicts are copies, so that nobody can change what is cached"

# Tests of what s3fs does and this package knowingly does not, each with the reason.
DEPARTURES = {
    _FILE + "test_makedirs": _NO_BUCKET,
    _FILE + "test_mkdir_bucket_and_key_1": _NO_BUCKET,
    _FILE + "test_new_bucket_auto": _NO_BUCKET,
    _FILE + "test_multi_find": _NO_BUCKET,
    _FILE + "test_requester_pays_makedirs_uses_object_listing": f"{_NO_BUCKET}: no request",
    _FILE + "test_upload_recursive_to_bucket": "`put` makes no bucket",
    _FILE + "test_errors": "an error within `with fs.open(path, 'wb')` stores nothing",
    f"{_CHANGED}[False]": _READ_AT_ONCE,
    f"{_CHANGED}[True]": _READ_AT_ONCE,
    _FILE + "test_info": _COPIES,
    _FILE + "test_copy_file_without_etag": _COPIES,
    _FILE + "test_mkdir_client_region_name": "a client's region is a location on AWS alone",
    _FILE + "test_write_blocks": "the parts of an upload have equal size, which R2 needs",
}


@dataclass(frozen=True)
class Comparison:
    """Names of the tests that passed, and of those that should pass and passed for s3fs alone."""

    passed: frozenset[str]
    broken: frozenset[str]


def compare(
    workspace: Path, sdist: Path | None = None, arguments: Sequence[str] = ()
) -> Comparison:
    """Run the suite on this package's class and check on s3fs's whatever did not pass.

    Parameters
    ----------
    workspace : Path
        An empty directory.
    sdist : Path, optional
        s3fs's source distribution; downloaded when not given.
    arguments : sequence of str
        Further arguments for pytest.
    """
    source = _unpack(sdist or _download(workspace), workspace)
    ours = _run("avroglob", source, workspace, arguments)
    passed = frozenset(name for name, outcome in ours.items() if outcome == "passed")
    others = frozenset(ours) - passed - DEPARTURES.keys()
    if not others:
        return Comparison(passed, frozenset())
    theirs = _run("s3fs", source, workspace, arguments, only=others)
    return Comparison(passed, frozenset(name for name in others if theirs.get(name) == "passed"))


def _download(workspace: Path) -> Path:
    version = importlib.metadata.version("s3fs")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "s3fs"]
    command += ["--quiet", "--dest", str(workspace), f"s3fs=={version}"]
    subprocess.run(command, check=True)
    return next(workspace.glob("s3fs-*.tar.gz"))


def _unpack(sdist: Path, workspace: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(workspace, filter="data")
    return next(workspace.glob("s3fs-*/"))


def _run(
    filesystem: str,
    source: Path,
    workspace: Path,
    arguments: Sequence[str],
    only: frozenset[str] | None = None,
) -> dict[str, str]:
    """Run the suite in a new process and return the outcome of each test by its node id."""
    # An ini file of the suite's own keeps this project's pytest settings out.
    ini, outcomes = workspace / "suite.ini", workspace / f"{filesystem}.json"
    ini.write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [sys.executable, "-m", "pytest", "-c", str(ini), "--rootdir", str(source), "-q"]
    command += ["-p", "tests.upstream.s3fs_plugin", "-p", "no:cacheprovider"]
    command += ["--disable-warnings", "--tb=short", "--show-capture=no", "-rfE"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        "S3FS_SUITE_SOURCE": str(source),
        "S3FS_SUITE_CLASS": _CLASSES[filesystem],
        "S3FS_SUITE_OUTCOMES": str(outcomes),
    }
    if only is not None:
        environment["S3FS_SUITE_ONLY"] = json.dumps(sorted(only))
    print(f"s3fs's tests on {_CLASSES[filesystem]}:", flush=True)
    command += [*arguments, str(source / "s3fs" / "tests")]
    status = subprocess.run(command, env=environment, cwd=source).returncode
    if status not in (0, 1):
        raise RuntimeError(f"s3fs's tests on {filesystem} did not run: pytest ended with {status}")
    found: dict[str, str] = json.loads(outcomes.read_text())
    return found


def main() -> int:
    """Run the command line described in the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstream.s3fs_suite")
    parser.add_argument("--sdist", type=Path, help="s3fs's source distribution, if at hand")
    chosen, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="fsspec-avroglob-s3fs-") as workspace:
        result = compare(Path(workspace), chosen.sdist, arguments)
    print(
        f"{len(result.passed)} passed; {len(result.broken)} pass for s3fs alone",
        *sorted(result.broken),
        sep="\n",
    )
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
