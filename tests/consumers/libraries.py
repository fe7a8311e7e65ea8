"""The libraries that every test run tries, and what each of their calls gives and costs."""

# The calls are shown in the documentation as they stand, one line each.
# ruff: noqa: E501

from __future__ import annotations

from tests.consumers.matrix import FIRST, Call, Fails, Library, Requests

_FS = 'fs = fsspec.filesystem("avroglob", **options)'
_NOT_FOUND = Fails("FileNotFoundError", "part-")
_NO_MATCH = Fails("FileNotFoundError", "none*")

FSSPEC = Library(
    "fsspec",
    "import fsspec\nfrom fsspec_avroglob import expand_path",
    (
        Call(
            'fsspec.open("avroglob://bucket/data/part-0.csv", **options).open().read()',
            Requests(GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            '[f.open().read() for f in fsspec.open_files("avroglob://bucket/data/*.csv", **options)]',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'fsspec.open("avroglob://bucket/data/*.csv", expand=True, **options).open().read()',
            Requests(LIST=1, GET=1),
            FIRST,
        ),
        Call(
            'fsspec.open("avroglob://bucket/data/*.csv", **options).open().read()',
            Requests(LIST=1, GET=3),
            remark="opened as one file, with the header line of the first",
        ),
        Call(
            'len(fsspec.open_files("avroglob://bucket/data/part-[0-2].csv", **options))',
            Requests(),
            1,
            3,
            remark="fsspec expands a string only if it contains `*`; all are opened as one file",
        ),
        Call(
            'len(fsspec.open_files(["avroglob://bucket/data/part-[0-2].csv"], **options))',
            Requests(LIST=3),
            3,
            3,
            remark="in a list, fsspec also expands `?` and `[`",
        ),
        Call(
            'len(fsspec.open_files(["avroglob://bucket/data/part-{0,1,2}.csv"], **options))',
            Requests(),
            1,
            3,
            remark="fsspec does not expand braces; all are opened as one file",
        ),
        Call(
            'len(fsspec.open_files(expand_path("avroglob://bucket/data/part-{0,1,2}.csv", options), **options))',
            Requests(LIST=3, HEAD=1),
            3,
            3,
            remark="the HEAD asks for an object of that name",
        ),
    ),
)

CACHES = Library(
    "fsspec's caches",
    'import fsspec\n\nkinds = ("simple", "file", "block")\n'
    'caches = {f"{kind}cache": {"cache_storage": f"{tmp}/{kind}"} for kind in kinds}',
    tuple(
        call
        for kind, heads, lists in (("simple", 1, 1), ("file", 1, 2), ("block", 1, 2))
        for call in (
            Call(
                f'with fsspec.open("{kind}cache::avroglob://bucket/data/part-0.csv", avroglob=options, **caches) as file: text = file.read()\ntext',
                Requests(HEAD=heads, GET=1),
                FIRST,
                FIRST,
            ),
            Call(
                f'with fsspec.open_files("{kind}cache::avroglob://bucket/data/*.csv", avroglob=options, **caches) as files: texts = [file.read() for file in files]\ntexts',
                Requests(LIST=lists, GET=3),
            ),
        )
    ),
    "`simplecache` keeps whole files. `filecache` also asks whether they have changed. `blockcache` keeps the blocks that were read.",
    leaves_open=True,
)

PANDAS = Library(
    "pandas",
    f"import fsspec\nimport pandas as pd\nfrom fsspec_avroglob import expand_path, read_avro\n\n{_FS}",
    (
        Call(
            'pd.read_csv("avroglob://bucket/data/part-0.csv", storage_options=options)',
            Requests(GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            'pd.read_csv("avroglob://bucket/data/*.csv", storage_options=options)',
            Requests(LIST=1, GET=3),
            remark="opened as one file",
        ),
        Call(
            'pd.concat(pd.read_csv(url, storage_options=options) for url in expand_path("avroglob://bucket/data/*.csv", options))',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'pd.read_parquet("avroglob://bucket/data/part-0.parquet", storage_options=options)',
            Requests(HEAD=1, GET=2),
            FIRST,
            FIRST,
        ),
        Call(
            'pd.read_parquet("avroglob://bucket/data/*.parquet", storage_options=options)',
            Requests(HEAD=2, LIST=2),
            Fails("FileNotFoundError", "*.parquet"),
        ),
        Call(
            'pd.read_parquet(fs.glob("bucket/data/*.parquet"), filesystem=fs)',
            Requests(LIST=1, GET=4),
        ),
        Call(
            'read_avro("avroglob://bucket/data/*.avro", storage_options=options)',
            Requests(LIST=1, GET=3),
        ),
    ),
)

DASK = Library(
    "Dask",
    "import dask.bag as db\nimport dask.dataframe as dd\nfrom fsspec_avroglob import expand_path",
    (
        Call(
            'dd.read_csv("avroglob://bucket/data/part-0.csv", storage_options=options)',
            Requests(HEAD=1, GET=2),
            FIRST,
            FIRST,
        ),
        Call(
            'dd.read_csv("avroglob://bucket/data/*.csv", storage_options=options)',
            Requests(LIST=2, GET=4),
            remark="Dask also reads a sample of the first file",
        ),
        Call(
            'dd.read_csv("avroglob://bucket/data/part-{0,1,2}.csv", storage_options=options)',
            Requests(HEAD=1, LIST=1),
            _NOT_FOUND,
            remark="fsspec expands a string only if it contains `*`",
        ),
        Call(
            'dd.read_csv("avroglob://bucket/data/part-{0,1,2}.csv*", storage_options=options)',
            Requests(LIST=6, GET=4),
        ),
        Call(
            'dd.read_json("avroglob://bucket/data/*.jsonl", lines=True, storage_options=options)',
            Requests(LIST=1, GET=4),
        ),
        Call(
            'dd.read_parquet("avroglob://bucket/data/part-0.parquet", storage_options=options)',
            Requests(HEAD=1, LIST=1, GET=4),
            FIRST,
            FIRST,
        ),
        Call(
            'dd.read_parquet("avroglob://bucket/data/*.parquet", storage_options=options)',
            Requests(LIST=1, GET=8),
        ),
        Call(
            'dd.read_parquet("avroglob://bucket/data/none*.parquet", storage_options=options)',
            Requests(LIST=1),
            (),
            _NO_MATCH,
            remark="no match gives an empty frame",
        ),
        Call(
            'dd.read_parquet(expand_path("avroglob://bucket/data/none*.parquet", options), storage_options=options)',
            Requests(LIST=1),
            _NO_MATCH,
            _NO_MATCH,
        ),
        Call(
            'db.read_text("avroglob://bucket/data/*.csv", storage_options=options)',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'db.read_avro("avroglob://bucket/data/part-0.avro", storage_options=options)',
            Requests(HEAD=1, GET=2),
            FIRST,
            FIRST,
        ),
        Call(
            'db.read_avro("avroglob://bucket/data/*.avro", storage_options=options)',
            Requests(LIST=1, GET=6),
        ),
    ),
)

PYARROW = Library(
    "pyarrow",
    "import fsspec\nimport pyarrow.dataset as ds\nimport pyarrow.parquet as pq\n"
    f'\n{_FS}\nfsspec.config.conf["avroglob"] = options',
    (
        Call(
            'ds.dataset("bucket/data/part-0.parquet", filesystem=fs).to_table()',
            Requests(HEAD=1, GET=2),
            FIRST,
            FIRST,
        ),
        Call(
            'ds.dataset("bucket/data/*.parquet", filesystem=fs)',
            Requests(HEAD=1, LIST=1),
            Fails("FileNotFoundError", "*.parquet"),
        ),
        Call(
            'ds.dataset(fs.glob("bucket/data/*.parquet"), filesystem=fs).to_table()',
            Requests(LIST=1, GET=4),
        ),
        Call(
            'ds.dataset("fsspec+avroglob://bucket/data/part-0.parquet").to_table()',
            Requests(HEAD=1, GET=2),
            FIRST,
            FIRST,
            remark="takes the options from `fsspec.config.conf` or `FSSPEC_AVROGLOB`",
        ),
        Call(
            'pq.read_table("fsspec+avroglob://bucket/data/*.parquet")',
            Requests(HEAD=2, LIST=2),
            Fails("FileNotFoundError", "*.parquet"),
        ),
        Call(
            'pq.read_table(fs.glob("bucket/data/*.parquet"), filesystem=fs)',
            Requests(LIST=1, GET=4),
        ),
    ),
)

POLARS = Library(
    "Polars",
    "import fsspec\nimport polars as pl\nimport polars_avro",
    (
        Call(
            'pl.scan_parquet("avroglob://bucket/data/part-0.parquet", storage_options=options).collect()',
            Requests(),
            _NOT_FOUND,
            FIRST,
            remark="Polars opens URLs itself and does not know the scheme",
        ),
        Call(
            'pl.scan_parquet(fsspec.open("avroglob://bucket/data/part-0.parquet", **options).open())',
            Requests(GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            'pl.scan_parquet([f.open() for f in fsspec.open_files("avroglob://bucket/data/*.parquet", **options)])',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'polars_avro.scan_avro(fsspec.open("avroglob://bucket/data/part-0.avro", **options).open())',
            Requests(GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            'polars_avro.scan_avro([f.open() for f in fsspec.open_files("avroglob://bucket/data/*.avro", **options)])',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'polars_avro.scan_avro(fsspec.open("avroglob://bucket/data/*.avro", **options).open())',
            Requests(LIST=1, GET=6),
            remark="opened as one file",
        ),
    ),
)

DUCKDB = Library(
    "DuckDB",
    "import duckdb\nimport fsspec\n\nconnection = duckdb.connect()\n"
    'connection.register_filesystem(fsspec.filesystem("avroglob", **options))',
    (
        Call(
            "connection.sql(\"FROM 'avroglob://bucket/data/part-0.csv'\").fetchall()",
            Requests(HEAD=1, GET=2),
            FIRST,
            FIRST,
        ),
        Call(
            "connection.sql(\"FROM 'avroglob://bucket/data/*.csv'\").fetchall()",
            Requests(LIST=2, GET=9),
            remark="listed and read once for the columns, once for the data",
        ),
        Call(
            "connection.sql(\"FROM 'avroglob://bucket/data/*.parquet'\").fetchall()",
            Requests(LIST=2, GET=7),
        ),
        Call(
            "connection.sql(\"FROM 'avroglob://bucket/data/part-{0,1,2}.parquet'\").fetchall()",
            Requests(LIST=6, GET=7),
        ),
    ),
)

UPATH = Library(
    "universal_pathlib",
    "from upath import UPath\nfrom fsspec_avroglob import read_avro",
    (
        Call(
            'UPath("avroglob://bucket/data/part-0.csv", **options).read_text()',
            Requests(GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            '[path.read_text() for path in UPath("avroglob://bucket/data", **options).glob("**/*.csv")]',
            Requests(LIST=1, GET=3),
        ),
        Call(
            'read_avro(UPath("avroglob://bucket/data", **options) / "*.avro")',
            Requests(LIST=1, GET=3),
        ),
    ),
)

FASTAVRO = Library(
    "fastavro",
    "import fastavro\nimport fsspec",
    (
        Call(
            'list(fastavro.reader(fsspec.open("avroglob://bucket/data/part-0.avro", **options).open()))',
            Requests(GET=1),
            FIRST,
            FIRST,
        ),
        Call(
            'list(fastavro.reader(fsspec.open("avroglob://bucket/data/*.avro", **options).open()))',
            Requests(LIST=1, GET=6),
            remark="opened as one file",
        ),
        Call(
            '[r for f in fsspec.open_files("avroglob://bucket/data/*.avro", **options) for r in fastavro.reader(f.open())]',
            Requests(LIST=1, GET=3),
        ),
    ),
)

LIBRARIES = (FSSPEC, CACHES, PANDAS, DASK, PYARROW, POLARS, DUCKDB, UPATH, FASTAVRO)
