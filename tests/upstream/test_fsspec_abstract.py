"""fsspec's abstract tests, which every filesystem is to pass."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

import fsspec.tests.abstract as abstract
import pytest
from fsspec.implementations.local import LocalFileSystem

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem


class AvroGlobFixtures(abstract.AbstractFixtures):
    """What fsspec's tests need to know of a filesystem."""

    @pytest.fixture
    def fs(self, shared_fs: AvroGlobFileSystem) -> AvroGlobFileSystem:
        return shared_fs

    @pytest.fixture
    def fs_path(self, bucket: str) -> str:
        return bucket

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join

    @pytest.fixture
    def local_fs(self) -> LocalFileSystem:
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class TestCopy(AvroGlobFixtures, abstract.AbstractCopyTests):
    pass


class TestGet(AvroGlobFixtures, abstract.AbstractGetTests):
    pass


class TestPut(AvroGlobFixtures, abstract.AbstractPutTests):
    pass


class TestPipe(AvroGlobFixtures, abstract.AbstractPipeTests):
    pass


class TestOpen(AvroGlobFixtures, abstract.AbstractOpenTests):
    pass
