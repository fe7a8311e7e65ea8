"""CPU time of `import fsspec_avroglob` and of `import s3fs`, each in new interpreters."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable

REFERENCE = "s3fs"
LIMITS = {"fsspec_avroglob": 1.10, "fsspec_avroglob.filesystem.core": 1.15}
"""Most CPU time of an import, as a multiple of the reference's; 0.05 of the second is noise."""

_SCRIPT = (
    "import time; before = time.process_time(); import {}; print(time.process_time() - before)"
)


def import_seconds(module: str, bytecode: str) -> float:
    """CPU seconds that a new interpreter spends on importing *module* and all that it needs.

    bytecode: a directory for compiled modules, so that none is compiled twice.
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
    command = [sys.executable, "-c", _SCRIPT.format(module)]
    return float(subprocess.check_output(command, text=True, env=environment))


def measure(modules: Iterable[str], rounds: int) -> dict[str, float]:
    """Least CPU seconds of each import, since noise only adds; the modules take turns."""
    modules = list(modules)
    with tempfile.TemporaryDirectory() as bytecode:
        for module in modules:
            import_seconds(module, bytecode)
        taken = [[import_seconds(module, bytecode) for module in modules] for _ in range(rounds)]
    return dict(zip(modules, map(min, zip(*taken, strict=True)), strict=True))


def main(arguments: list[str]) -> int:
    """Print the times. Returns 1 when an import takes more than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks importtime", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="interpreters for each import (15)")
    rounds = parser.parse_args(arguments).rounds
    seconds = measure([REFERENCE, *LIMITS], rounds)
    for module, taken in seconds.items():
        print(f"{module:28} {taken * 1000:6.0f} ms  x {taken / seconds[REFERENCE]:.2f}")
    return int(any(seconds[name] > most * seconds[REFERENCE] for name, most in LIMITS.items()))
