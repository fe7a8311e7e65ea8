"""One measurement: a tool lists the matches of a pattern in this process and prints the figures.

`python -m benchmarks.peers TOOL --url URL --bucket NAME --pattern PATTERN` prints one JSON object.
The process imports the tool, makes its client and sends a first request that finds nothing before
the clock starts, so only listing is measured. A tool without braces loops over the alternatives. A
tool without patterns lists the literal prefix and filters with a compiled regex.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

from fsspec.utils import glob_translate

from benchmarks.endpoint import KEY, REGION, SECRET, s3fs_options
from benchmarks.process import own_options, take, tool_command
from fsspec_avroglob.glob.pattern import GlobPattern

WARM_UP_PATTERN = "warm-up/*"
MAGIC = re.compile(r"[*?\[{]")

Glob = Callable[[str, str, bool], Any]
"""Returns the matches of a pattern in a bucket: names, or with `detail` the tool's own objects."""


def avroglob(url: str) -> Glob:
    """List with this package."""
    fs = _own_filesystem(url)

    def glob(bucket: str, pattern: str, detail: bool) -> Any:
        fs.invalidate_cache()
        return fs.glob(f"{bucket}/{pattern}", detail=detail)

    return glob


def avroglob_iglob(url: str) -> Glob:
    """Count and drop the matches of this package's `iglob`, and time the first."""
    fs = _own_filesystem(url)

    def glob(bucket: str, pattern: str, detail: bool) -> Any:
        fs.invalidate_cache()
        started = time.perf_counter()
        first_match_s, count = None, 0
        for _ in fs.iglob(f"{bucket}/{pattern}"):
            count += 1
            if first_match_s is None:
                first_match_s = time.perf_counter() - started
        return {"found": count, "first_match_s": first_match_s}

    return glob


def _own_filesystem(url: str) -> Any:
    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

    return AvroGlobFileSystem(**own_options(url), skip_instance_cache=True)


def s3fs(url: str) -> Glob:
    """List with s3fs, one glob for each alternative."""
    import s3fs as library

    fs = library.S3FileSystem(**s3fs_options(url), skip_instance_cache=True)

    def glob(bucket: str, pattern: str, detail: bool) -> Any:
        fs.invalidate_cache()
        patterns = GlobPattern.parse(f"{bucket}/{pattern}").brace_free
        return [one for brace_free in patterns for one in fs.glob(brace_free, detail=detail)]

    return glob


def boto3(url: str) -> Glob:
    """List with boto3: the paginator over the literal prefix, and a regex."""
    import boto3 as library  # type: ignore[import-untyped]

    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    client = library.client("s3", endpoint_url=url, region_name=REGION, **keys)

    def glob(bucket: str, pattern: str, detail: bool) -> Any:
        keep = keep_function(pattern)
        paginator = client.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=bucket, Prefix=literal_prefix(pattern))
        items = (item for page in pages for item in page.get("Contents", []))
        return [item if detail else item["Key"] for item in items if keep(item["Key"])]

    return glob


def _obstore_batches(url: str) -> Callable[..., Any]:
    from obstore.store import S3Store

    stores: dict[str, Any] = {}  # a store is bound to one bucket
    keys = {"access_key_id": KEY, "secret_access_key": SECRET, "region": REGION}

    def batches(bucket: str, pattern: str, **options: Any) -> Any:
        if bucket not in stores:
            http = {"allow_http": True}
            stores[bucket] = S3Store(bucket, endpoint=url, client_options=http, **keys)
        # obstore's prefixes are whole path segments.
        directory = literal_prefix(pattern).rpartition("/")[0]
        return stores[bucket].list(directory, chunk_size=1000, **options)

    return batches


def obstore(url: str) -> Glob:
    """List with obstore: the literal directory, and a regex."""
    batches = _obstore_batches(url)

    def glob(bucket: str, pattern: str, detail: bool) -> Any:
        keep = keep_function(pattern)
        items = (item for batch in batches(bucket, pattern) for item in batch)
        return [item if detail else item["path"] for item in items if keep(item["path"])]

    return glob


def obstore_arrow(url: str) -> Glob:
    """List with obstore as Arrow batches, its cheapest way to many names."""
    batches = _obstore_batches(url)

    def glob(bucket: str, pattern: str, detail: bool) -> Any:
        keep, found = keep_function(pattern), batches(bucket, pattern, return_arrow=True)
        if detail:
            return list(found)
        return [path for batch in found for path in batch["path"].to_pylist() if keep(path)]

    return glob


def pyarrow(url: str) -> Glob:
    """List with pyarrow: a recursive selector on the literal directory, and a regex."""
    from pyarrow import fs as library

    scheme, _, address = url.partition("://")
    keys = {"access_key": KEY, "secret_key": SECRET, "region": REGION}
    fs = library.S3FileSystem(scheme=scheme, endpoint_override=address, **keys)

    def glob(bucket: str, pattern: str, detail: bool) -> Any:
        keep, start = keep_function(pattern), len(bucket) + 1
        directory = f"{bucket}/{literal_prefix(pattern).rpartition('/')[0]}"
        selector = library.FileSelector(directory, allow_not_found=True, recursive=True)
        infos = fs.get_file_info(selector)
        files = (info for info in infos if info.is_file and keep(info.path[start:]))
        return [info if detail else info.path for info in files]

    return glob


TOOLS: dict[str, Callable[[str], Glob]] = {
    "avroglob": avroglob,
    "avroglob-iglob": avroglob_iglob,
    "s3fs": s3fs,
    "boto3": boto3,
    "obstore": obstore,
    "obstore-arrow": obstore_arrow,
    "pyarrow": pyarrow,
}


def literal_prefix(pattern: str) -> str:
    """Return the part of `pattern` before its first magic character."""
    return MAGIC.split(pattern, maxsplit=1)[0]


def keep_function(pattern: str) -> Callable[[str], object]:
    """Return the filter of a pattern; the filter of a whole directory does nothing."""
    if pattern == literal_prefix(pattern) + "*":
        return lambda key: True
    return re.compile("|".join(map(glob_translate, GlobPattern.parse(pattern).brace_free))).match


def names(bucket: str, matches: Any) -> Iterator[str]:
    """Yield the keys of what any tool's glob returned."""
    for one in matches:
        if isinstance(one, str):
            yield one.removeprefix(f"{bucket}/")
        elif isinstance(one, dict):
            yield one.get("Key") or one["path"]
        elif hasattr(one, "is_file"):
            yield one.path.removeprefix(f"{bucket}/")
        else:
            yield from one["path"].to_pylist()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool in this process."""
    parser = tool_command("benchmarks.peers", TOOLS)
    parser.add_argument("--pattern", required=True)
    parser.add_argument("--detail", action="store_true")
    options = parser.parse_args(arguments)
    glob = TOOLS[options.tool](options.url)
    glob(options.bucket, WARM_UP_PATTERN, False)
    matches, figures = take(lambda: glob(options.bucket, options.pattern, options.detail), options)
    if options.tool == "avroglob-iglob":
        figures |= matches
    else:
        keys = sorted(names(options.bucket, matches))
        figures["found"] = len(keys)
        figures["digest"] = sha256("\0".join(keys).encode()).hexdigest() if keys else None
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
