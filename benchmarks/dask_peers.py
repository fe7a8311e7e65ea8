"""One measurement: a tool groups and sums the rows of Avro files on a Dask cluster.

`python -m benchmarks.dask_peers TOOL --url URL --bucket NAME` prints one JSON object. Before the
clock starts, the cluster runs, and each worker has imported its modules and read a small file. The
tool "pandas" uses one process without Dask; its result is the correct one.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import dask
import dask.bag
from distributed import Client, LocalCluster

from benchmarks.avro_peers import WARM_UP, fastavro
from benchmarks.endpoint import s3fs_options
from benchmarks.process import own_options, take, tool_command

WORKERS = 4

Grouped = Callable[[str], Any]


def sums(frame: Any) -> Any:
    """Return the sums of two columns by a third, the task of every tool."""
    return frame.groupby("kind")[["id", "value"]].sum()


def avroglob(url: str) -> Grouped:
    """Make a dask.dataframe with this package."""
    from fsspec_avroglob.dask import read_avro

    options = own_options(url)
    return lambda path: sums(read_avro(f"s3://{path}", storage_options=options)).compute()


def dask_bag(url: str) -> Grouped:
    """A dask.dataframe made of dask.bag.read_avro, which uses s3fs."""
    options = s3fs_options(url)

    def grouped(path: str) -> Any:
        bag = dask.bag.read_avro(f"s3://{path}", storage_options=options)
        return sums(bag.to_dataframe()).compute()

    return grouped


def pandas(url: str) -> Grouped:
    """One pandas frame of fastavro's records."""
    read = fastavro(url)
    return lambda path: sums(read(path))


TOOLS: dict[str, Callable[[str], Grouped]] = {
    "avroglob": avroglob,
    "dask.bag": dask_bag,
    "pandas": pandas,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool on a cluster of local processes."""
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
        client.run(_warm_up, options.tool, options.url)
        grouped(f"{WARM_UP}/data/*.avro")
        path = f"{options.bucket}/data/*.avro"
        sums_by_kind, figures = take(lambda: grouped(path), options)
        rows = sums_by_kind.sort_index().iterrows()
        figures["result"] = {kind: row.tolist() for kind, row in rows}
        print(json.dumps(figures), flush=True)


def _warm_up(tool: str, url: str) -> None:
    """Read the small file within a worker, which makes its clients and imports its modules."""
    with dask.config.set(scheduler="synchronous"):
        TOOLS[tool](url)(f"{WARM_UP}/data/*.avro")


if __name__ == "__main__":
    main()
