"""What the package's metadata says, in pyproject.toml, as installed and in the conda recipe."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import fsspec
import yaml

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def recipe() -> Any:
    text = (ROOT / ".ci" / "conda" / "meta.yaml").read_text()
    version = re.findall(r'{% set version = "(.*)" %}', text)[0]
    plain = re.sub(r"{%.*%}", "", text).replace("{{ version }}", version)
    return yaml.safe_load(re.sub(r"{{ (\w+) }}", r"\1", plain))


def bounds(requirements: list[str]) -> dict[str, str]:
    """Lower bound by name."""
    pairs = (re.fullmatch(r"([\w.-]+)(?:\[.*\])? *>=([\w.]+)(;.*)?", r) for r in requirements)
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_required_dependencies() -> None:
    codecs = {"cramjam", "backports.zstd"}

    assert set(bounds(PROJECT["dependencies"])) - codecs == {"fsspec", "s3fs", "fastavro"}
    assert len(bounds(PROJECT["dependencies"])) == len(PROJECT["dependencies"])


def test_entry_points() -> None:
    for group in ("fsspec.specs", "universal_pathlib.implementations"):
        ours = [e for e in entry_points(group=group) if e.value.startswith("fsspec_avroglob")]
        assert [e.name for e in ours] == ["avroglob"]
    assert fsspec.get_filesystem_class("avroglob").__module__ == "fsspec_avroglob.filesystem.core"


def test_extra_all_is_complete() -> None:
    extras = PROJECT["optional-dependencies"]
    for_developers = {"all", "bench", "consumers", "docs", "lint", "test"}
    [everything] = extras["all"]

    assert set(re.findall(r"[\w-]+", everything.partition("[")[2])) == set(extras) - for_developers


def test_conda_recipe_agrees() -> None:
    conda = recipe()

    assert conda["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    assert conda["about"]["summary"] == PROJECT["description"]
    assert conda["about"]["license"] == PROJECT["license"]
    assert bounds(conda["requirements"]["run"]).items() >= bounds(PROJECT["dependencies"]).items()
    [script] = conda["build"]["entry_points"]
    assert script == "avroglob = " + PROJECT["scripts"]["avroglob"]
