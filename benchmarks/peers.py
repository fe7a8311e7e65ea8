"""One measurement: a tool lists what a pattern matches, in this process, and prints the figures.

`python -m benchmarks.peers TOOL --url URL --bucket NAME --pattern PATTERN` prints one JSON object.
Imports, client construction and a first request that finds nothing come before the clock starts, so
what is measured is listing. Tools that know no braces, or no patterns at all, get what their users
write: a loop over the alternatives, or a listing of the literal prefix and a compiled regex.
"""

import gc
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from statistics import median
from typing import Any, Protocol

from benchmarks.process import KEY, REGION, SECRET, Run, own_options, s3fs_options, tool_command

WARM_UP_PATTERN = "warm-up/*"
MAGIC = re.compile(r"[*?\[{]")


class Tool(Protocol):
    """A way to list; constructed with the endpoint's URL."""

    def glob(self, bucket: str, pattern: str, detail: bool) -> Any:
        """Return the matches as the tool has them: names, or with `detail` their metadata too."""

    def names(self, bucket: str, matches: Any) -> Iterable[str]:
        """Return the keys of what `glob` returned."""

    def forget(self) -> None:
        """Drop whatever listings the tool remembers."""


class _Fsspec:
    """An fsspec filesystem: its own glob, for each alternative if it knows no braces."""

    def __init__(self, fs: Any, *, braces: bool) -> None:
        self.fs = fs
        self._braces = braces

    def glob(self, bucket: str, pattern: str, detail: bool) -> Any:
        patterns = [pattern] if self._braces else alternatives(pattern)
        matches = [self.fs.glob(f"{bucket}/{one}", detail=detail) for one in patterns]
        return matches[0] if len(matches) == 1 else [one for some in matches for one in some]

    def names(self, bucket: str, matches: Any) -> Iterable[str]:
        return [name.removeprefix(f"{bucket}/") for name in matches]

    def forget(self) -> None:
        self.fs.invalidate_cache()


class AvroGlob(_Fsspec):
    """The package of this repository."""

    def __init__(self, url: str) -> None:
        """Make a filesystem without shared state."""
        from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

        fs = AvroGlobFileSystem(**own_options(url), skip_instance_cache=True)
        super().__init__(fs, braces=True)


class AvroGlobIterator(AvroGlob):
    """Its `iglob`: matches are counted and dropped as they come."""

    def glob(self, bucket: str, pattern: str, detail: bool) -> Any:
        """Return the number of matches and the time of the first, in seconds."""
        started = time.perf_counter()
        first_match_s, count = None, 0
        for _ in self.fs.iglob(f"{bucket}/{pattern}"):
            count += 1
            if first_match_s is None:
                first_match_s = time.perf_counter() - started
        return {"matches": count, "first_match_s": first_match_s}

    def names(self, bucket: str, matches: Any) -> Iterable[str]:
        """Return nothing: the matches are gone."""
        return []


class S3fs(_Fsspec):
    """s3fs."""

    def __init__(self, url: str) -> None:
        """Make a filesystem without shared state."""
        import s3fs

        fs = s3fs.S3FileSystem(**s3fs_options(url), skip_instance_cache=True)
        super().__init__(fs, braces=False)


class _Stateless:
    def forget(self) -> None:
        """Nothing is remembered."""


class Boto3(_Stateless):
    """boto3: the paginator over the literal prefix, and a regex."""

    def __init__(self, url: str) -> None:
        """Make a client."""
        import boto3  # type: ignore[import-untyped]

        self._client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
        )

    def glob(self, bucket: str, pattern: str, detail: bool) -> Any:
        """Return keys, or botocore's items."""
        keep = keep_function(pattern)
        paginator = self._client.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=bucket, Prefix=literal_prefix(pattern))
        items = (item for page in pages for item in page.get("Contents", []))
        return [item if detail else item["Key"] for item in items if keep(item["Key"])]

    def names(self, bucket: str, matches: Any) -> Iterable[str]:
        """Return the keys."""
        return [one if isinstance(one, str) else one["Key"] for one in matches]


class Obstore(_Stateless):
    """obstore: a listing of the literal directory, and a regex."""

    def __init__(self, url: str) -> None:
        """Remember the URL; a store is bound to one bucket."""
        from obstore.store import S3Store

        self._stores: dict[str, Any] = {}
        self._open: Callable[[str], Any] = lambda bucket: S3Store(
            bucket,
            endpoint=url,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region=REGION,
            client_options={"allow_http": True},
        )

    def _batches(self, bucket: str, pattern: str, **options: Any) -> Any:
        store = self._stores.get(bucket)
        if store is None:
            store = self._stores[bucket] = self._open(bucket)
        # obstore takes whole path segments for a prefix.
        directory = literal_prefix(pattern).rpartition("/")[0]
        return store.list(directory, chunk_size=1000, **options)

    def glob(self, bucket: str, pattern: str, detail: bool) -> Any:
        """Return paths, or obstore's items."""
        keep = keep_function(pattern)
        items = (item for batch in self._batches(bucket, pattern) for item in batch)
        return [item if detail else item["path"] for item in items if keep(item["path"])]

    def names(self, bucket: str, matches: Any) -> Iterable[str]:
        """Return the paths."""
        return [one if isinstance(one, str) else one["path"] for one in matches]


class ObstoreArrow(Obstore):
    """obstore with Arrow batches, its cheapest way to many names."""

    def glob(self, bucket: str, pattern: str, detail: bool) -> Any:
        """Return paths, or all Arrow batches as they came, for a pattern that keeps everything."""
        keep = keep_function(pattern)
        batches = self._batches(bucket, pattern, return_arrow=True)
        if detail:
            return list(batches)
        return [path for batch in batches for path in batch["path"].to_pylist() if keep(path)]

    def names(self, bucket: str, matches: Any) -> Iterable[str]:
        """Return the paths."""
        return [
            path
            for one in matches
            for path in ([one] if isinstance(one, str) else one["path"].to_pylist())
        ]


class PyArrow(_Stateless):
    """pyarrow: a recursive selector on the literal directory, and a regex."""

    def __init__(self, url: str) -> None:
        """Make a filesystem."""
        from pyarrow import fs

        scheme, _, address = url.partition("://")
        self._selector = fs.FileSelector
        self._fs = fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            region=REGION,
            scheme=scheme,
            endpoint_override=address,
        )

    def glob(self, bucket: str, pattern: str, detail: bool) -> Any:
        """Return paths, or pyarrow's FileInfo objects."""
        keep = keep_function(pattern)
        start = len(bucket) + 1
        directory = f"{bucket}/{literal_prefix(pattern).rpartition('/')[0]}"
        infos = self._fs.get_file_info(
            self._selector(directory, allow_not_found=True, recursive=True)
        )
        files = (info for info in infos if info.is_file and keep(info.path[start:]))
        return [info if detail else info.path for info in files]

    def names(self, bucket: str, matches: Any) -> Iterable[str]:
        """Return the keys."""
        paths = (one if isinstance(one, str) else one.path for one in matches)
        return [path.removeprefix(f"{bucket}/") for path in paths]


TOOLS: dict[str, Callable[[str], Tool]] = {
    "avroglob": AvroGlob,
    "avroglob-iglob": AvroGlobIterator,
    "s3fs": S3fs,
    "boto3": Boto3,
    "obstore": Obstore,
    "obstore-arrow": ObstoreArrow,
    "pyarrow": PyArrow,
}


def literal_prefix(pattern: str) -> str:
    """Return what comes before the first magic character of `pattern`."""
    return MAGIC.split(pattern, maxsplit=1)[0]


def alternatives(pattern: str) -> list[str]:
    """Return the patterns without braces that `pattern` stands for; braces are not nested here."""
    found = re.search(r"{([^{}]*)}", pattern)
    if not found:
        return [pattern]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [one for part in found[1].split(",") for one in alternatives(head + part + tail)]


def keep_function(pattern: str) -> Callable[[str], object]:
    """Return the filter of a pattern; one that keeps a whole flat directory is next to free."""
    if pattern == literal_prefix(pattern) + "*":
        return lambda key: True
    from fsspec.utils import glob_translate

    return re.compile("|".join(glob_translate(one) for one in alternatives(pattern))).match


def measure(
    tool: Tool, url: str, bucket: str, pattern: str, *, detail: bool, repeat: int, timeout_s: float
) -> dict[str, Any]:
    """Return the figures of listing `pattern` `repeat` times: medians of times, counts per listing.

    After `timeout_s` the figures up to then are printed instead, and the process ends.
    """
    tool.glob(bucket, WARM_UP_PATTERN, False)
    gc.collect()
    run = Run(url, timeout_s)
    walls, cpus = [], []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        matches = tool.glob(bucket, pattern, detail)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        tool.forget()
    run.end()
    figures = run.figures("ok")
    figures |= {"wall_s": median(walls), "cpu_s": median(cpus)}
    figures["requests"] /= repeat
    names = sorted(tool.names(bucket, matches))
    if not names:
        return figures | (matches if isinstance(matches, dict) else {"matches": 0})
    digest = sha256("\0".join(names).encode()).hexdigest()
    return figures | {"matches": len(names), "digest": digest}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool in this process."""
    parser = tool_command("benchmarks.peers", TOOLS)
    parser.add_argument("--pattern", required=True)
    parser.add_argument("--detail", action="store_true")
    options = parser.parse_args(arguments)
    figures = measure(
        TOOLS[options.tool](options.url),
        options.url,
        options.bucket,
        options.pattern,
        detail=options.detail,
        repeat=options.repeat,
        timeout_s=options.timeout,
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
