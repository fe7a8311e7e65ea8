"""One measurement: rows of Avro files grouped and added up by a tool on a Dask cluster.

`python -m benchmarks.dask_peers TOOL --url URL --bucket NAME` prints one JSON object. The cluster
has started, and each of its processes has imported what it needs and read a small file, before the
clock starts. "pandas" is one process without Dask, for the right result.
"""

import json
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import dask
import dask.bag
from distributed import Client, LocalCluster

from benchmarks.avro_peers import WARM_UP, fastavro
from benchmarks.process import own_options, s3fs_options, take, tool_command

WORKERS = 4

Grouped = Callable[[str], Any]


def sums(frame: Any) -> Any:
    """Return the sums that every tool computes, of its data frame."""
    return frame.groupby("kind")[["id", "value"]].sum()


def avroglob(url: str) -> Grouped:
    """Read with this package's dask.dataframe."""
    from fsspec_avroglob.dask import read_avro

    options = own_options(url)
    return lambda path: sums(read_avro(f"s3://{path}", storage_options=options)).compute()


def dask_bag(url: str) -> Grouped:
    """dask.bag.read_avro over s3fs, turned into a dask.dataframe."""
    options = s3fs_options(url)

    def grouped(path: str) -> Any:
        bag = dask.bag.read_avro(f"s3://{path}", storage_options=options)
        return sums(bag.to_dataframe()).compute()

    return grouped


def pandas(url: str) -> Grouped:
    """Records of fastavro in one pandas frame."""
    read = fastavro(url)
    return lambda path: sums(read(path))


TOOLS: dict[str, Callable[[str], Grouped]] = {
    "avroglob": avroglob,
    "dask.bag": dask_bag,
    "pandas": pandas,
}


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        import_module(module)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool, on a cluster of processes of this machine."""
    options = tool_command("benchmarks.dask_peers", TOOLS).parse_args(arguments)
    grouped = TOOLS[options.tool](options.url)
    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(_import, ["pandas", "pyarrow", "fastavro", "s3fs", "fsspec_avroglob.dask"])
        client.run(_read_alone, options.tool, options.url)
        grouped(f"{WARM_UP}/data/*.avro")
        path = f"{options.bucket}/data/*.avro"
        sums_by_kind, figures = take(lambda: grouped(path), options)
        rows = sums_by_kind.sort_index().iterrows()
        figures["result"] = {kind: row.tolist() for kind, row in rows}
        print(json.dumps(figures), flush=True)


def _read_alone(tool: str, url: str) -> None:
    """Read the small file within a worker, so that its clients are there."""
    with dask.config.set(scheduler="synchronous"):
        TOOLS[tool](url)(f"{WARM_UP}/data/*.avro")


if __name__ == "__main__":
    main()
