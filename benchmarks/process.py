"""Measurements in processes of their own: the parent asks with `measure`, the child answers.

A child takes its figures with `take` and prints them as one JSON object.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from textwrap import shorten
from typing import Any

from benchmarks.endpoint import KEY, REGION, SECRET, control

OVERHEAD_S = 60.0
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measurement:
    """The figures of one tool in one scenario; times in seconds, counts for one run.

    status: "ok", "timeout" (the figures are those up to then), "failed" or "skipped" (no figures).
    found: number of paths or rows. total_requests: the requests that a run needs, if known although
    it was cut off. peak_memory_bytes: highest resident size above that of the idle process.
    table_bytes: size of the result in memory. digest: of all paths. result: of a computation.
    """

    scenario: Any
    tool: str
    status: str
    error: str | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    requests: int = 0
    requests_by_operation: dict[str, int] = field(default_factory=dict)
    total_requests: int | None = None
    peak_in_flight: int = 0
    peak_memory_bytes: int | None = None
    table_bytes: int | None = None
    found: int | None = None
    first_match_s: float | None = None
    digest: str | None = None
    result: Any = None

    @property
    def measured(self) -> bool:
        """Whether there are figures."""
        return self.status in ("ok", "timeout")

    @property
    def share(self) -> float | None:
        """The share of its requests that a run sent: 1 for a complete one, None if unknown."""
        if self.status == "ok":
            return 1.0
        return self.requests / self.total_requests or None if self.total_requests else None


def own_options(url: str) -> dict[str, Any]:
    """Return this package's storage options for the endpoint at `url`."""
    return {"endpoint_url": url, "key": KEY, "secret": SECRET, "region": REGION}


def measure(
    module: str, scenario: Any, tool: str, arguments: Sequence[str], timeout_s: float
) -> Measurement:
    """Run `python -m MODULE TOOL ARGUMENTS...` and return the figures that it prints.

    A process that fails gives the status "failed", with the last line of its stderr as the error.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, tool, *arguments, f"--timeout={timeout_s}"],
        capture_output=True,
        text=True,
        timeout=timeout_s + OVERHEAD_S,
        cwd=_ROOT,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return Measurement(scenario, tool, "failed", shorten(lines[-1], 120, placeholder="..."))
    return Measurement(scenario, tool, **json.loads(done.stdout.splitlines()[-1]))


def tool_command(module: str, tools: Iterable[str]) -> argparse.ArgumentParser:
    """Return the options that `measure` may give to a module that measures one tool."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("tool", choices=tools)
    parser.add_argument("--url", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    return parser


def take(call: Callable[[], Any], options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Call a function `--repeat` times; return its last result and the figures.

    Times are medians, counts those of the first call. After `--timeout` the process prints the
    figures up to then and ends.
    """
    gc.collect()
    run = _Run(options.url, options.timeout)
    walls, cpus = [], []
    figures: dict[str, Any] = {}
    result = None
    for _ in range(options.repeat):
        result = None  # do not hold two results
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        figures = figures or run.figures("ok")
    run.timer.cancel()
    return result, figures | {"wall_s": median(walls), "cpu_s": median(cpus)}


class _Run:
    """The clock, the memory and the endpoint's counters of one measurement."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        control(url, "reset", {})
        self._resets_memory = Path("/proc/self/clear_refs").exists()  # on Linux
        if self._resets_memory:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
            self._idle_kib = _status_kib("VmRSS")
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self.timer = threading.Timer(timeout_s, self._give_up)
        self.timer.daemon = True
        self.timer.start()

    def figures(self, status: str) -> dict[str, Any]:
        """Return the usage up to now."""
        wall_s = time.perf_counter() - self._wall
        cpu_s = time.process_time() - self._cpu
        stats = control(self._url, "stats")
        memory = 1024 * (_status_kib("VmHWM") - self._idle_kib) if self._resets_memory else None
        return {
            "status": status,
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "peak_memory_bytes": memory,
            "requests": sum(stats["requests"].values()),
            "requests_by_operation": stats["requests"],
            "peak_in_flight": stats["peak_in_flight"],
        }

    def _give_up(self) -> None:
        print(json.dumps(self.figures("timeout")), flush=True)
        os._exit(0)  # the tool may be anywhere, in native code too


def _status_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
