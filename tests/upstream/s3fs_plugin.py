"""A pytest plugin under which s3fs's own tests run on a free port, and on another filesystem class.

Loaded with `-p` by `s3fs_suite`, in a process of its own. Environment variables tell it what to do:

S3FS_SUITE_SOURCE
    The unpacked source distribution, whose tests the installed s3fs lacks.
S3FS_SUITE_CLASS
    The class that takes the place of `S3FileSystem`, as `package.module:Name`.
S3FS_SUITE_ONLY
    A JSON list of the node ids to run; when missing, all are run.
S3FS_SUITE_OUTCOMES
    Where the outcomes are written, a JSON object: node id to "passed", "failed" or "skipped".
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import types
from pathlib import Path
from typing import Any

import fsspec
import pytest
import s3fs

_OUTCOMES: dict[str, str] = {}


class _S3fsWithOtherClass(types.ModuleType):
    """What the suite's modules see as `s3fs`; the module itself stays as it is."""

    def __init__(self, replacement: type) -> None:
        super().__init__("s3fs")
        self.S3FileSystem = replacement

    def __getattr__(self, name: str) -> Any:
        return getattr(s3fs, name)


def pytest_configure() -> None:
    """Make `s3fs.tests` importable."""
    s3fs.__path__.append(os.path.join(os.environ["S3FS_SUITE_SOURCE"], "s3fs"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose the tests and adapt their modules."""
    if chosen := os.environ.get("S3FS_SUITE_ONLY"):
        wanted = set(json.loads(chosen))
        items[:] = [item for item in items if item.nodeid in wanted]
    _adapt_modules()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take down the outcome: a failure of any phase counts."""
    if report.failed:
        _OUTCOMES[report.nodeid] = "failed"
    elif report.skipped or report.when == "call":
        _OUTCOMES.setdefault(report.nodeid, report.outcome)


def pytest_sessionfinish() -> None:
    """Write the outcomes, which an xdist worker's controller knows better."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        Path(os.environ["S3FS_SUITE_OUTCOMES"]).write_text(json.dumps(_OUTCOMES))


def _adapt_modules() -> None:
    """Exchange the class, and the fixed ports for free ones, in the suite's modules."""
    module_name, _, class_name = os.environ["S3FS_SUITE_CLASS"].partition(":")
    replacement = getattr(importlib.import_module(module_name), class_name)
    fsspec.register_implementation("s3", replacement, clobber=True)
    for name, module in list(sys.modules.items()):
        if not name.startswith("s3fs.tests."):
            continue
        if hasattr(module, "S3FileSystem"):
            module.S3FileSystem = replacement
        if getattr(module, "s3fs", None) is s3fs:
            module.s3fs = _S3fsWithOtherClass(replacement)
        if hasattr(module, "port"):
            with socket.create_server(("127.0.0.1", 0)) as opened:
                module.port = opened.getsockname()[1]
            module.endpoint_uri = f"http://127.0.0.1:{module.port}/"
