"""Libraries of the extra "consumers", and what each of their calls gives and costs."""

# The calls are shown in the documentation as they stand, one line each.
# ruff: noqa: E501

from __future__ import annotations

import warnings
from typing import Any

from tests.consumers.matrix import ALL, FIRST, Call, Fails, Library, Requests

_FS = 'fs = fsspec.filesystem("avroglob", **options)'


def zarr_files() -> dict[str, bytes]:
    """A zarr group with an array n in three chunks, as xarray writes it."""
    import xarray
    import zarr

    store: dict[str, Any] = {}
    frame = xarray.Dataset({"n": ("x", list(ALL))}).chunk({"x": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # about its default
        frame.to_zarr(zarr.storage.MemoryStore(store))
    return {f"zarr/{key}": value.to_bytes() for key, value in store.items()}


ZARR = Library(
    "zarr",
    "import numpy as np\nimport zarr\n\nnumbers = np.array([0, 1, 10, 11, 20, 21])",
    (
        Call(
            'zarr.open_array("avroglob://bucket/zarr/n", mode="r", storage_options=options)[:]',
            Requests(GET=6),
            remark="three GETs for metadata, one for each chunk",
        ),
        Call(
            'zarr.open_array("avroglob://bucket/zarr/n", mode="r", zarr_format=3, storage_options=options)[:]',
            Requests(GET=4),
            remark="one GET for metadata",
        ),
        Call(
            'zarr.create_array("avroglob://bucket/new", data=numbers, chunks=(2,), storage_options=options)[:]',
            Requests(PUT=4, GET=4),
            remark="written and read back",
        ),
    ),
    heavy=True,
    leaves_open=True,
    data=zarr_files,
)

XARRAY = Library(
    "xarray",
    "import xarray as xr",
    (
        Call(
            'xr.open_zarr("avroglob://bucket/zarr", storage_options=options)["n"].values',
            Requests(GET=7),
            remark="four GETs for metadata, one for each chunk",
        ),
        Call(
            'xr.open_zarr("avroglob://bucket/zarr", zarr_format=3, storage_options=options)["n"].values',
            Requests(GET=4),
            remark="one GET for metadata",
        ),
    ),
    heavy=True,
    leaves_open=True,
    data=zarr_files,
)

DATASETS = Library(
    "Hugging Face datasets",
    "import datasets\nfrom fsspec_avroglob import read_avro",
    (
        Call(
            'datasets.load_dataset("csv", data_files="avroglob://bucket/data/part-0.csv", split="train", storage_options=options, cache_dir=tmp)',
            Requests(HEAD=4, GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            'datasets.load_dataset("csv", data_files="avroglob://bucket/data/*.csv", split="train", storage_options=options, cache_dir=tmp)',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'datasets.load_dataset("parquet", data_files="avroglob://bucket/data/*.parquet", split="train", storage_options=options, cache_dir=tmp)',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'datasets.load_dataset("csv", data_files="avroglob://bucket/data/*.csv", split="train", streaming=True, storage_options=options)',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'datasets.Dataset.from_pandas(read_avro("avroglob://bucket/data/*.avro", storage_options=options))',
            Requests(LIST=1, GET=3),
        ),
    ),
    "`datasets` adds an entry to the dict `storage_options`. If you use the dict again, pass a copy: `dict(options)`.",
    heavy=True,
)

INTAKE = Library(
    "intake",
    "import intake\nfrom intake.readers.datatypes import CSV\nfrom intake.readers.readers import DaskCSV",
    (
        Call(
            'CSV("avroglob://bucket/data/part-0.csv", storage_options=options).to_reader("pandas").read()',
            Requests(HEAD=1, GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            'CSV("avroglob://bucket/data/*.csv", storage_options=options).to_reader("pandas").read()',
            Requests(LIST=1, GET=3),
            remark="opened as one file",
        ),
        Call(
            'DaskCSV(CSV("avroglob://bucket/data/*.csv", storage_options=options)).read()',
            Requests(LIST=2, GET=4),
        ),
        Call(
            'intake.open_textfiles("avroglob://bucket/data/*.csv", storage_options=options).read()',
            Requests(LIST=1, GET=3),
        ),
    ),
    heavy=True,
)

RAY = Library(
    "Ray Data",
    f"import fsspec\nimport ray\nfrom fsspec_avroglob.ray import read_avro\n\n{_FS}",
    (
        Call(
            'ray.data.read_csv("bucket/data/part-0.csv", filesystem=fs).to_pandas()',
            Requests(HEAD=3, GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            'ray.data.read_csv("avroglob://bucket/data/*.csv").to_pandas()',
            Requests(),
            Fails("ValueError", "No files found"),
            remark="Ray opens URLs with pyarrow",
        ),
        Call(
            'ray.data.read_csv("bucket/data/*.csv", filesystem=fs).to_pandas()',
            Requests(HEAD=1, LIST=1),
            Fails("FileNotFoundError", "*.csv"),
        ),
        Call(
            'ray.data.read_csv(fs.glob("bucket/data/*.csv"), filesystem=fs).to_pandas()',
            Requests(LIST=1, HEAD=6, GET=3),
            remark="workers do not have the cache: they ask for each file before they open it",
        ),
        Call(
            'ray.data.read_avro(fs.glob("bucket/data/*.avro"), filesystem=fs).to_pandas()',
            Requests(LIST=1, HEAD=6, GET=3),
        ),
        Call(
            'read_avro("avroglob://bucket/data/*.avro", storage_options=options).to_pandas()',
            Requests(LIST=1, GET=6),
        ),
    ),
    heavy=True,
)

HEAVY_LIBRARIES = (ZARR, XARRAY, DATASETS, INTAKE)
