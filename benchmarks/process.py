"""Measurements in processes of their own: asked for here, taken there, and given out."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.endpoint import control

KEY, SECRET, REGION = "benchmarks", "benchmarks", "us-east-1"
OVERHEAD_S = 60.0
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What every process tells of its tool; times in seconds, counts for one run.

    status: "ok", "timeout" (the figures are those up to then), "failed" or "skipped" (no figures).
    peak_memory_bytes: highest resident size above that of the idle process.
    """

    status: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    requests: float = 0.0
    peak_in_flight: int = 0
    server_cpu_s: float = 0.0
    peak_memory_bytes: int | None = None
    error: str | None = None
    requests_by_operation: dict[str, int] = field(default_factory=dict)


def own_options(url: str) -> dict[str, Any]:
    """Return this package's storage options for the endpoint at `url`."""
    return {"endpoint_url": url, "key": KEY, "secret": SECRET, "region": REGION}


def s3fs_options(url: str) -> dict[str, Any]:
    """Return those of s3fs, which has no option for the region."""
    region = {"region_name": REGION}
    return {"endpoint_url": url, "key": KEY, "secret": SECRET, "client_kwargs": region}


def figures_of(module: str, arguments: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """Run `python -m MODULE ARGUMENTS... --timeout=S`; return the figures that it prints.

    Those of a process that fails are its status, "failed", and its last words as "error".
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, f"--timeout={timeout_s}"],
        capture_output=True,
        text=True,
        timeout=timeout_s + OVERHEAD_S,
        cwd=_ROOT,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return {"status": "failed", "error": lines[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Memory:
    """How far the resident memory of this process rose since the start, where Linux tells it."""

    def __init__(self) -> None:
        """Forget the peak so far."""
        self._known = False
        if Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
            self._known = True
        self._idle = self._kibibytes("VmRSS")

    def peak_over_idle_bytes(self) -> int | None:
        """Return the highest resident size since the start, less that at the start."""
        return 1024 * (self._kibibytes("VmHWM") - self._idle) if self._known else None

    def _kibibytes(self, field: str) -> int:
        if not self._known:
            return 0
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


class Run:
    """The clock, the memory and the endpoint's counters of one measurement."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Start all of them.

        After `timeout_s` the figures up to then are printed, and the process ends.
        """
        self._url = url
        control(url, "reset", {})
        self._memory = Memory()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._timer = threading.Timer(timeout_s, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Call the end by timeout off."""
        self._timer.cancel()

    def figures(self, status: str) -> dict[str, Any]:
        """Return what was used up to now."""
        wall_s = time.perf_counter() - self._wall
        cpu_s = time.process_time() - self._cpu
        stats = control(self._url, "stats")
        return {
            "status": status,
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "peak_memory_bytes": self._memory.peak_over_idle_bytes(),
            "requests": sum(stats["requests"].values()),
            "requests_by_operation": stats["requests"],
            "peak_in_flight": stats["peak_in_flight"],
            "server_cpu_s": stats["cpu_s"],
        }

    def _give_up(self) -> None:
        print(json.dumps(self.figures("timeout")), flush=True)
        os._exit(0)  # the tool may be anywhere, in native code too


def tool_command(module: str, tools: Iterable[str]) -> argparse.ArgumentParser:
    """Return the options that `figures_of` may give to a module that measures one tool."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("tool", choices=tools)
    parser.add_argument("--url", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    return parser


def command_line(name: str, description: str, quick: str) -> argparse.ArgumentParser:
    """Return the options that all benchmarks of tools side by side have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=description)
    parser.add_argument("--quick", action="store_true", help=f"end within {quick}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write SVG plots")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds before one is cut off")
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Return the options of `command_line`, and as `command` the whole line, for the page."""
    options = parser.parse_args(arguments)
    line = shlex.join(sys.argv[1:] if arguments is None else arguments)
    options.command = f"pip install '.[bench]' && {parser.prog} {line}".rstrip()
    return options


def pictures(options: argparse.Namespace, plot: Callable[[Path], Sequence[Path]]) -> list[str]:
    """Have the plots written if they are asked for; return the page's images of them."""
    if not options.plots:
        return []
    page = options.markdown.parent if options.markdown else Path()
    return [
        f"![{path.stem.replace('-', ' ').capitalize()}]({os.path.relpath(path, page)})"
        for path in plot(options.plots)
    ]


def give_out(
    options: argparse.Namespace,
    text: str,
    figures: dict[str, Any],
    disagreements: Sequence[str],
) -> int:
    """Write what `command_line` was asked for; return 1 if there are disagreements, else 0."""
    if options.markdown:
        options.markdown.write_text(text)
    else:
        print(text)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    for line in disagreements:
        print(line, file=sys.stderr)
    return 1 if disagreements else 0
