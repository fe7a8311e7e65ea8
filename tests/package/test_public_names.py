"""The package's public names: all there, and none loaded before it is asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import fsspec_avroglob
from fsspec_avroglob import dask


def modules_after(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True).split())


@pytest.mark.parametrize("name", fsspec_avroglob.__all__)
def test_public_name_exists(name: str) -> None:
    assert getattr(fsspec_avroglob, name).__module__.startswith("fsspec_avroglob.")
    assert name in dir(fsspec_avroglob)


def test_reference_has_every_name() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/api.md").read_text()
    documented = set(re.findall(r"(?:::: fsspec_avroglob\.|`)([\w.]+)", page))

    assert {*fsspec_avroglob.__all__, *(f"dask.{name}" for name in dask.__all__)} <= documented


def test_version_equals_metadata() -> None:
    assert fsspec_avroglob.__version__ == version("fsspec-avroglob")


@pytest.mark.parametrize(
    "name", ["expand_s3_glob", "expand_s3_glob_async", "is_glob_pattern", "is_s3_uri"]
)
def test_old_name_warns(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{name} .*use (expand_path|parse_s3_glob_uri)"):
        assert callable(getattr(fsspec_avroglob, name))


def test_unknown_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="'fsspec_avroglob' has no attribute 'read_parquet'"):
        fsspec_avroglob.read_parquet  # noqa: B018  # that it is looked up is the test


def test_import_loads_nothing_else() -> None:
    loaded = modules_after("import fsspec_avroglob")

    assert not loaded & {"s3fs", "fsspec", "fastavro", "pandas", "pyarrow"}


def test_name_loads_only_its_module() -> None:
    loaded = modules_after("from fsspec_avroglob import Dropped, __version__")

    assert not loaded & {"s3fs", "fsspec", "pandas", "pyarrow"}


def test_filesystem_needs_no_readers() -> None:
    loaded = modules_after("import fsspec; fsspec.get_filesystem_class('avroglob')")

    assert "s3fs" in loaded
    assert not loaded & {"fastavro", "pandas", "pyarrow", "fsspec_avroglob.readers.sources"}


def test_filesystem_imports_lazily() -> None:
    before = modules_after("import s3fs")
    loaded = modules_after("import fsspec_avroglob.filesystem.core") - before
    from_elsewhere = {name for name in loaded if not name.startswith("fsspec_avroglob")}
    needed_later = "filesystem.recovery", "filesystem.targets", "glob.lister", "s3.page"

    assert not from_elsewhere
    assert not loaded & {f"fsspec_avroglob.{name}" for name in needed_later}


def test_failure_handling_loads_first() -> None:
    loaded = modules_after("import fsspec_avroglob.filesystem.core")

    assert loaded >= {f"fsspec_avroglob.{name}" for name in ("s3.classification", "s3.retry")}


def test_botocore_loads_no_deeper() -> None:
    """It holds hot loops, which are slow where they cross the end of a piece of CPython's stack."""
    script = """
import sys
from importlib import import_module

class Depth:
    def find_spec(self, name, path=None, target=None):
        if name == "aiobotocore.session":
            frame, depth = sys._getframe(), 0
            while frame := frame.f_back:
                depth += 1
            print(depth)

sys.meta_path.insert(0, Depth())
import_module({!r})
"""
    of_s3fs, ours = (
        int(subprocess.check_output([sys.executable, "-c", script.format(name)]))
        for name in ("s3fs", "fsspec_avroglob.filesystem.core")
    )

    assert ours <= of_s3fs
