"""The layout of the package: what its root holds, and which way its imports run."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "fsspec_avroglob"

ROOMS = {
    "__init__": set(),
    "errors": set(),
    "aio": {"errors"},
    "avro": {"errors"},
    "s3": {"errors", "aio"},
    "glob": {"errors", "aio", "s3"},
    "filesystem": {"errors", "aio", "avro", "s3", "glob"},
    "readers": {"errors", "aio", "avro", "s3", "glob", "filesystem"},
    "upath": {"filesystem", "glob"},
    "dask": {"errors", "aio", "avro", "filesystem", "readers"},
    "ray": {"errors", "aio", "avro", "filesystem", "readers"},
    "cli": {"errors", "aio", "avro", "s3", "glob", "filesystem", "readers", "__init__"},
}
"""What each entry of the root may import; imports within functions and for types count as well."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below the root."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a module imports, by dotted name below the root."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            base = node.module
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            base, names = "", [alias.name for alias in node.names]
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != ROOT.name:
                continue
            inner = ".".join(parts[1:])
            yield inner if inner in known else inner.rpartition(".")[0] or "__init__"


def room_of(module: str) -> str:
    return module.split(".")[0]


def test_root_holds_eleven_names() -> None:
    names = {path.name for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert len(names - {"__init__.py", "py.typed"}) <= 11
    assert {name.removesuffix(".py") for name in names - {"py.typed"}} == set(ROOMS)


def test_imports_run_one_way() -> None:
    known = modules()
    upward = {
        f"{module} imports {other}"
        for module, path in known.items()
        if module != "__init__"  # hands on the names of all rooms
        for other in imports(path, known)
        if room_of(other) != room_of(module) and room_of(other) not in ROOMS[room_of(module)]
    }
    assert upward == set()


def test_no_import_cycle() -> None:
    known = modules()
    edges = {
        module: set(imports(path, known)) - {module}
        for module, path in known.items()
        if module != "__init__"  # hands on the names of all rooms
    }
    while leaves := {module for module, others in edges.items() if not others & edges.keys()}:
        for module in leaves:
            del edges[module]
    assert edges == {}


def test_module_names_are_unique() -> None:
    names = Counter(path.stem for path in modules().values() if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []


def test_filesystem_needs_avro_to_join() -> None:
    known = modules()
    users = {
        module
        for module, path in known.items()
        if room_of(module) == "filesystem"
        and any(room_of(other) == "avro" for other in imports(path, known))
    }
    assert users <= {"filesystem.join_avro", "filesystem.join_text", "filesystem.open_glob"}
