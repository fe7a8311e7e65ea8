"""What the consumer tests are made of: libraries, the calls they are tried with, what comes out."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from tests.support.avro_data import avro_file, record_schema
from tests.support.proxy import FaultProxy, Request

FIRST = (0, 1)
"""The numbers in the first of the files."""
ALL = (*FIRST, 10, 11, 20, 21)
"""The numbers in the three files that a glob finds."""

_KINDS = {"ListObjectsV2": "LIST", "HeadObject": "HEAD", "GetObject": "GET"}


def lake() -> dict[str, bytes]:
    """Key -> content of the files that all calls read: three of each format, n in each record."""
    files = {}
    for i in range(3):
        frame = pd.DataFrame({"n": [10 * i, 10 * i + 1]})
        records = frame.to_dict("records")
        files[f"data/part-{i}.csv"] = frame.to_csv(index=False).encode()
        files[f"data/part-{i}.jsonl"] = frame.to_json(orient="records", lines=True).encode()
        files[f"data/part-{i}.parquet"] = frame.to_parquet()
        files[f"data/part-{i}.avro"] = avro_file(records, record_schema({"n": "long"}))
    return files


@dataclass(frozen=True)
class Fails:
    """The call raises *error* (a class's name), with *message* in its text."""

    error: str
    message: str = ""


Outcome: TypeAlias = tuple[int, ...] | int | Fails
"""The numbers that were read, how many files were found, or how it failed."""


@dataclass(frozen=True)
class Requests:
    """How many requests of each kind a call sends; those of other kinds are none."""

    LIST: int = 0
    HEAD: int = 0
    GET: int = 0
    PUT: int = 0

    @classmethod
    def of(cls, requests: Iterable[Request]) -> Requests:
        """Count what reached a proxy."""
        kinds = (_KINDS.get(item.operation, item.operation) for item in requests)
        return cls(**{kind.replace("PutObject", "PUT"): n for kind, n in Counter(kinds).items()})


@dataclass(frozen=True)
class Call:
    """One way to read data through a library.

    code: statements, the last of them the expression whose numbers are looked at. They see
    ``options``, ``tmp`` (a directory) and what the library's ``setup`` made; ``bucket`` in them
    stands for the bucket's name.
    requests: what it sends.
    gives: what comes out.
    right: what should come out.
    remark: what a reader should know about it.
    """

    code: str
    requests: Requests
    gives: Outcome = ALL
    right: Outcome = ALL
    remark: str = ""

    @property
    def works(self) -> bool:
        """Whether it gives what its URL names."""
        return self.gives == self.right


@dataclass(frozen=True)
class Library:
    """A library that reads through fsspec.

    setup: what its calls need, run before each of them. remark: what holds for all of them.
    heavy: whether it belongs to the extra "consumers" and not to "test".
    leaves_open: whether it leaves files or connections for the garbage collector to close.
    data: further files for its calls, as key -> content.
    """

    name: str
    setup: str
    calls: tuple[Call, ...]
    remark: str = ""
    heavy: bool = False
    leaves_open: bool = False
    data: Callable[[], Mapping[str, bytes]] = dict


def outcome(
    library: Library, call: Call, bucket: str, proxy: FaultProxy, tmp: str
) -> tuple[Outcome, Requests]:
    """What a call gives through a proxy, and the requests that arrived there.

    The caller sees to it that no filesystem remembers listings of earlier calls.
    """
    options = dict(proxy.storage_options)
    del options["config_kwargs"]  # some libraries read the options too, and know only texts
    namespace: dict[str, Any] = {"options": options, "tmp": tmp}
    exec(library.setup, namespace)
    code = re.sub(r"(?<![\w.])bucket/", f"{bucket}/", call.code)
    *statements, last = ast.parse(code).body
    assert isinstance(last, ast.Expr), "the last statement is what is looked at"
    proxy.clear()
    gives: Outcome
    try:
        exec(compile(ast.Module(statements, []), "<call>", "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), "<call>", "eval"), namespace)
        gives = value if isinstance(value, int) else tuple(sorted(numbers(value)))
    except Exception as error:
        wanted = call.gives if isinstance(call.gives, Fails) else Fails("")
        shown = wanted.message if wanted.message in str(error) else str(error)
        gives = Fails(type(error).__name__, shown)
        if gives != wanted:
            raise
    return gives, Requests.of(proxy.requests)


def numbers(value: Any) -> list[int]:
    """The values of n in what a library made of the files: a frame, table, records, text, bytes."""
    if hasattr(value, "compute"):
        value = value.compute(scheduler="threads", num_workers=2)
    if hasattr(value, "collect"):
        value = value.collect()
    if hasattr(value, "to_pylist"):
        value = value.to_pylist()
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return [int(line) for line in value.split() if line != "n"]
    if hasattr(value, "columns"):
        return [int(number) for number in value["n"]] if len(value.columns) else []
    return [number for item in value for number in _numbers_of_item(item)]


def _numbers_of_item(item: Any) -> list[int]:
    match item:
        case {"n": number}:
            return [number]
        case (number,):
            return [number]
        case bytes() | str():
            return numbers(item)
    return [int(item)]
