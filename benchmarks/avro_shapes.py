"""Local Avro files of shapes that cost readers much, each read by several tools for its CPU time.

`python -m benchmarks.avro_shapes TOOL --bucket DIRECTORY --url URL` measures one tool: it reads all
files of the directory and prints one JSON object. A table is what the tool's own library returns.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.process import Measurement, measure, take, tool_command
from benchmarks.report import Verdict

TABLES = ("avroglob-table", "polars-avro", "polars", "datafusion", "jetliner")
RECORDS = ("avroglob-records", "fastavro-records")


class Content(NamedTuple):
    """Files of one schema: rows of each file, and most bytes of a block."""

    schema: Any
    rows: Sequence[Any]
    files: int = 1
    codec: str = "null"
    block_bytes: int = 64_000


@dataclass(frozen=True)
class Shape:
    """Files of one shape, and the goal for the CPU time: a multiple of the peer's.

    The first tool is this package, and the second is the peer.
    """

    title: str
    tools: tuple[str, ...]
    goal: float | None
    group: Literal["shapes"] = "shapes"


def _record(**fields: Any) -> dict[str, Any]:
    types = [{"name": name, "type": type_} for name, type_ in fields.items()]
    return {"type": "record", "name": "Row", "fields": types}


_TIME = {"type": "long", "logicalType": "timestamp-micros"}
_FLAT = _record(id="long", name=["null", "string"], value="double", time=_TIME, kind="string")


def _flat_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "name": None if i % 7 == 0 else f"name-{i % 1000}",
            "value": i * 1.5,
            "time": 1_700_000_000_000_000 + i,
            "kind": f"k{i % 97}",
        }
        for i in range(count)
    ]


def _flat(codec: str) -> Callable[[], Content]:
    return lambda: Content(_FLAT, _flat_rows(200_000), codec=codec)


def _wide() -> Content:
    types = {f"c{i}": ["null", "double"] if i % 2 else "long" for i in range(1000)}
    rows = [{f"c{i}": i * row * (0.5 if i % 2 else 1) for i in range(1000)} for row in range(200)]
    return Content(_record(**types), rows * 60)


def _strings() -> Content:
    rows = [{f"s{i}": "x" * (50 + (row * 37 + i) % 450) for i in range(4)} for row in range(1000)]
    return Content(_record(**{f"s{i}": "string" for i in range(4)}), rows * 100)


def _unions() -> Content:
    rows = [{"a": [None, i, str(i)][i % 3], "b": [i, i * 0.5][i % 2]} for i in range(300_000)]
    return Content(_record(a=["null", "long", "string"], b=["long", "double"]), rows)


def _null_field() -> Content:
    rows = [{**row, "nothing": None} for row in _flat_rows(200_000)]
    schema = {**_FLAT, "fields": [*_FLAT["fields"], {"name": "nothing", "type": "null"}]}
    return Content(schema, rows)


def _docs() -> Content:
    types = {f"f{i}": ["null", "string"] if i % 2 else "long" for i in range(30)}
    rows = [{f"f{i}": str(i) if i % 2 else i for i in range(30)}] * 20
    return Content(_record(**types), rows, files=300)


def _arrays() -> Content:
    item = {"type": "record", "name": "Item", "fields": [{"name": "n", "type": "long"}]}
    nested = {"type": "array", "items": {"type": "array", "items": item}}
    rows = [{"a": [[{"n": i + k} for k in range(5)]] * 4} for i in range(20_000)]
    return Content(_record(a=nested), rows)


def _maps() -> Content:
    rows = [{"m": {f"key-{k}": i + k for k in range(50)}} for i in range(10_000)]
    return Content(_record(m={"type": "map", "values": "long"}), rows)


SHAPES: Mapping[Shape, Callable[[], Content]] = {
    Shape("200,000 flat rows, snappy", TABLES, 1.15): _flat("snappy"),
    Shape("200,000 flat rows, deflate", TABLES, 1.15): _flat("deflate"),
    Shape("200,000 flat rows, zstandard", TABLES, 1.15): _flat("zstandard"),
    Shape("200,000 blocks of one row", (*TABLES, *RECORDS), 3): (
        lambda: _flat("null")()._replace(block_bytes=1)
    ),
    Shape("12,000 rows of 1,000 columns", TABLES, 1.3): _wide,
    Shape("110 MB of strings", TABLES, 1.3): _strings,
    Shape("300,000 rows of unions", TABLES, None): _unions,
    Shape("200,000 flat rows and a null field", TABLES, None): _null_field,
    Shape("300 files whose schemas differ in doc", TABLES, None): _docs,
    Shape("20,000 nested arrays", RECORDS, 1.3): _arrays,
    Shape("10,000 maps of 50 entries", RECORDS, 1.3): _maps,
    Shape("5,000 files of one row", RECORDS, 1.3): (
        lambda: Content(_FLAT, _flat_rows(1), files=5000)
    ),
}


def measurements(url: str, root: Path, only: str, timeout_s: float) -> Iterator[Measurement]:
    """Write the files of each shape below *root*, and yield the figures of its tools."""
    for number, (shape, content) in enumerate(SHAPES.items()):
        if only in shape.title:
            directory = root / str(number)
            directory.mkdir()
            _write(directory, content())
            asked = [f"--url={url}", f"--bucket={directory}", "--repeat=3"]
            for tool in shape.tools:
                yield measure("benchmarks.avro_shapes", shape, tool, asked, timeout_s)
            for path in directory.iterdir():
                path.unlink()


def verdicts(found: Sequence[Measurement]) -> Iterator[Verdict]:
    """Compare the CPU time with the peer's in each shape that has a goal."""
    cpu = {(one.scenario, one.tool): one.cpu_s for one in found if one.status == "ok"}
    for shape in dict.fromkeys(one.scenario for one in found):
        pairs = [pair for pair in (TABLES[:2], RECORDS) if set(pair) <= set(shape.tools)]
        for own, peer in pairs:
            times = cpu.get((shape, own)), cpu.get((shape, peer))
            if shape.goal is None or times[0] is None or times[1] is None:
                continue
            limit = 1.3 if pairs[0] != (own, peer) else shape.goal
            ratio = times[0] / times[1]
            goal = f"{shape.title}, {own}: CPU at most {limit:g} x {peer}"
            yield Verdict(goal, f"{ratio:.3g} x", ratio <= limit)


def _write(directory: Path, content: Content) -> None:
    import fastavro

    for number in range(content.files):
        schema = {**content.schema, "doc": f"run {number}"}
        with (directory / f"{number:05}.avro").open("wb") as file:
            fastavro.writer(
                file,
                schema,
                content.rows,
                codec=content.codec,
                sync_interval=content.block_bytes,
            )


# --- the tools -----------------------------------------------------------------------------------

Read = Callable[[list[str]], int]
"""Reads files and returns the number of rows."""


def _avroglob_table(paths: list[str]) -> int:
    from fsspec_avroglob import read_avro_table

    return read_avro_table(paths).num_rows


def _avroglob_records(paths: list[str]) -> int:
    from fsspec_avroglob import iter_avro_records

    return sum(1 for _ in iter_avro_records(paths))


def _polars_avro(paths: list[str]) -> int:
    import polars_avro

    return polars_avro.read_avro(paths).height


def _polars(paths: list[str]) -> int:
    import polars

    return sum(polars.read_avro(path).height for path in paths)


def _datafusion(paths: list[str]) -> int:
    import datafusion

    context = datafusion.SessionContext()
    return sum(context.read_avro(path).to_arrow_table().num_rows for path in paths)


def _jetliner(paths: list[str]) -> int:
    import jetliner

    return jetliner.read_avro(paths).height


def _fastavro_records(paths: list[str]) -> int:
    import fastavro

    count = 0
    for path in paths:
        with open(path, "rb") as file:
            count += sum(1 for _ in fastavro.reader(file))
    return count


TOOLS: Mapping[str, Read] = {
    "avroglob-table": _avroglob_table,
    "polars-avro": _polars_avro,
    "polars": _polars,
    "datafusion": _datafusion,
    "jetliner": _jetliner,
    "avroglob-records": _avroglob_records,
    "fastavro-records": _fastavro_records,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool in this process."""
    options = tool_command("benchmarks.avro_shapes", TOOLS).parse_args(arguments)
    paths = sorted(map(str, Path(options.bucket).iterdir()))
    read = TOOLS[options.tool]
    read(paths[:1])
    count, figures = take(lambda: read(paths), options)
    print(json.dumps({**figures, "found": count}))


if __name__ == "__main__":
    main()
