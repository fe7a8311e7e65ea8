"""Print the lower bounds of the dependencies in pyproject.toml as pip constraints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("arrow", "cli", "dask", "demo", "pandas", "polars", "progress", "test", "upath")
_BOUND = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([0-9.]+)")


def main() -> None:
    """Print a line `name==bound` for each requirement of the tests."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(item for name in EXTRAS for item in extras[name])]
    for requirement in requirements:
        if bound := _BOUND.match(requirement):
            print(f"{bound[1]}=={bound[2]}")


if __name__ == "__main__":
    main()
