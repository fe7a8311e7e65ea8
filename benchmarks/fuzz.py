"""Damaged Avro files, read with each reader, `check` and `count`: only documented errors may come.

Each file is a valid one with a few bytes changed, cut out, repeated or inserted. Half of the
changes are in the header. A case fails if it raises another error, takes over 10 s of CPU time, or
if the process takes over 1 GiB more memory. Cases depend on the seed and their number alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import random
import resource
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fastavro

from fsspec_avroglob import (
    AvroGlobError,
    iter_avro_batches,
    iter_avro_records,
    read_avro,
    read_avro_table,
    scan_avro,
)
from fsspec_avroglob.cli.app import run

MOST_SECONDS = 10
MOST_BYTES = 1 << 30

_INNER = {"type": "record", "name": "I", "fields": [{"name": "y", "type": ["null", "string"]}]}
_FIELDS: dict[str, tuple[Any, Any]] = {
    "id": ("long", 7),
    "text": (["null", "string"], "abc"),
    "when": ({"type": "long", "logicalType": "timestamp-millis"}, 1_700_000_000_000),
    "price": ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, b"\x01\x02"),
    "items": ({"type": "array", "items": _INNER}, [{"y": "z"}, {"y": None}]),
    "map": ({"type": "map", "values": "double"}, {"k": 1.5}),
    "enum": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
    "fixed": ({"type": "fixed", "name": "F", "size": 3}, b"xyz"),
    "none": ("null", None),
    "union": (["int", "string", "I"], "s"),
}


def _tables(path: str) -> None:
    for engine in ("auto", "fastavro"):
        read_avro_table(path, engine=engine)


def _command(*arguments: str) -> Callable[[str], None]:
    """Run a command; 70 means that it met an error that is a bug."""

    def command(path: str) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = run([*arguments, path])
        if code == 70:
            raise AssertionError(f"exit code 70: {out.getvalue()[-300:]}")

    return command


READERS: Mapping[str, Callable[[str], Any]] = {
    "iter_avro_records": lambda path: sum(1 for _ in iter_avro_records(path)),
    "iter_avro_batches": lambda path: sum(1 for _ in iter_avro_batches(path)),
    "read_avro_table": _tables,
    "read_avro": lambda path: read_avro(path, ignore_errors=True),
    "scan_avro": lambda path: scan_avro(path).collect(),
    "check": _command("check", "--values"),
    "count": _command("count"),
}


def damaged(random_: random.Random) -> bytes:
    """Return a file of some of the fields, with damage."""
    names = random_.sample(sorted(_FIELDS), random_.randint(1, len(_FIELDS)))
    if "union" in names:
        names = ["items", *(name for name in names if name != "items")]
    fields = [{"name": name, "type": _FIELDS[name][0]} for name in names]
    schema = {"type": "record", "name": "R", "fields": fields}
    out = io.BytesIO()
    rows = [{name: _FIELDS[name][1] for name in names}] * random_.randint(1, 50)
    codec = random_.choice(["null", "deflate", "snappy", "zstandard"])
    fastavro.writer(
        out,
        schema,
        rows,
        codec=codec,
        sync_interval=random_.choice([1, 300]),
        sync_marker=bytes(range(16)),
    )
    data = bytearray(out.getvalue())
    header = data.rfind(b"}]") + 2
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(header if random_.random() < 0.5 else len(data))
        match random_.randrange(5):
            case 0:
                data[at] = random_.randrange(256)
            case 1:
                data[at] ^= 1 << random_.randrange(8)
            case 2:
                del data[at : at + random_.randint(1, 20)]
            case 3:
                data[at:at] = data[at : at + random_.randint(1, 20)]
            case _:
                data[at:at] = random_.randbytes(random_.randint(1, 9))
        if not data:
            break
        header = max(1, min(header, len(data)))
    return bytes(data)


def problem(read: Callable[[str], Any], path: str) -> str | None:
    """Return what is wrong with a reader's answer for a damaged file, or None."""
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(path)
    except AvroGlobError:
        pass
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of a native module is not an Exception
        return f"{type(error).__name__}: {str(error)[:300]}"
    if (taken := time.process_time() - began) > MOST_SECONDS:
        return f"took {taken:.1f} s"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return f"took {grown >> 20} MiB" if grown > MOST_BYTES else None


def main(arguments: list[str]) -> int:
    """Read damaged files for some minutes; return 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, help="most cases")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    until = time.monotonic() + 60 * options.minutes
    found: Counter[str] = Counter()
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.avro")
        for number in itertools.count(options.start):
            if time.monotonic() > until or done == options.cases:
                break
            path.write_bytes(damaged(random.Random(f"{options.seed}-{number}")))
            done += 1
            for name, read in READERS.items():
                if wrong := problem(read, str(path)):
                    found[name] += 1
                    print(f"case {number}, {name}: {wrong}", flush=True)
    print(f"{done} files, seed {options.seed}, {len(READERS)} readers: {found.total()} problems")
    return 1 if found else 0
