"""Fixtures of the command's tests: the command itself, and files for it."""

from __future__ import annotations

import pytest

from fsspec_avroglob.cli import main
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import PutObjects
from tests.support.command import Cli, Outcome, avro
from tests.support.servers import Endpoint


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


@pytest.fixture(autouse=True)
def _instances_of_its_own(no_cached_instances: None) -> None:
    """Each test has them."""
