"""One measurement: a tool moves bytes in this process and prints the figures.

`python -m benchmarks.bytes_peers TOOL --url URL --endpoint URL --ca FILE --work cat --size 8388608
--count 20` prints one JSON object. `--url` is the server's control. The process moves one byte
before the clock starts, so imports and clients are not measured.
"""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from benchmarks.endpoint import KEY, REGION, SECRET
from benchmarks.process import take, tool_command

READ_BYTES = 1 << 20
RANDOM_BYTES = 1 << 16
RANDOM_READS = 64
THREADS = 32
BUCKET = "bucket"


class Tool(Protocol):
    """What is measured of each tool. Keys are without the bucket."""

    def cat(self, keys: Sequence[str]) -> Iterable[Any]:
        """Return the bytes of objects."""

    def get(self, key: str, path: str) -> object:
        """Copy an object to a file."""

    def open(self, key: str) -> Any:
        """Open an object for reading."""

    def put(self, path: str, key: str) -> object:
        """Copy a file to an object."""

    def pipe(self, items: dict[str, bytes]) -> object:
        """Write objects."""

    def rm(self, keys: Sequence[str]) -> object:
        """Remove objects."""


class _Fsspec:
    """fsspec filesystems: this package and s3fs."""

    def __init__(self, own: bool, endpoint: str, ca_file: str) -> None:
        client = {"region_name": REGION, "verify": ca_file}
        if own:
            from fsspec_avroglob import AvroGlobFileSystem as FileSystem
        else:
            from s3fs import S3FileSystem as FileSystem
        self._fs = FileSystem(endpoint_url=endpoint, key=KEY, secret=SECRET, client_kwargs=client)

    def cat(self, keys: Sequence[str]) -> Iterable[Any]:
        if len(keys) == 1:
            return [self._fs.cat_file(f"{BUCKET}/{keys[0]}")]
        return list(self._fs.cat([f"{BUCKET}/{key}" for key in keys]).values())

    def get(self, key: str, path: str) -> object:
        return self._fs.get_file(f"{BUCKET}/{key}", path)

    def open(self, key: str) -> Any:
        return self._fs.open(f"{BUCKET}/{key}")

    def put(self, path: str, key: str) -> object:
        return self._fs.put_file(path, f"{BUCKET}/{key}")

    def pipe(self, items: dict[str, bytes]) -> object:
        return self._fs.pipe({f"{BUCKET}/{key}": data for key, data in items.items()})

    def rm(self, keys: Sequence[str]) -> object:
        return self._fs.rm([f"{BUCKET}/{key}" for key in keys])


class _Boto3:
    """boto3 in 32 threads."""

    def __init__(self, endpoint: str, ca_file: str) -> None:
        import boto3
        from botocore.config import Config

        session = boto3.Session(KEY, SECRET, region_name=REGION)
        config = Config(max_pool_connections=THREADS)
        self._s3 = session.client("s3", endpoint_url=endpoint, verify=ca_file, config=config)
        self._threads = ThreadPoolExecutor(THREADS)

    def cat(self, keys: Sequence[str]) -> Iterable[Any]:
        return list(self._threads.map(lambda key: self.open(key).read(), keys))

    def get(self, key: str, path: str) -> object:
        return self._s3.download_file(BUCKET, key, path)

    def open(self, key: str) -> Any:
        return self._s3.get_object(Bucket=BUCKET, Key=key)["Body"]

    def put(self, path: str, key: str) -> object:
        return self._s3.upload_file(path, BUCKET, key)

    def pipe(self, items: dict[str, bytes]) -> object:
        def write(item: tuple[str, bytes]) -> None:
            self._s3.put_object(Bucket=BUCKET, Key=item[0], Body=item[1])

        return list(self._threads.map(write, items.items()))

    def rm(self, keys: Sequence[str]) -> object:
        objects = [{"Key": key} for key in keys]
        return self._s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})


class _Obstore:
    """obstore, many objects in 32 threads."""

    def __init__(self, endpoint: str, ca_file: str) -> None:
        import obstore
        from obstore.store import S3Store

        self._obstore: Any = obstore
        self._store = S3Store(
            BUCKET,
            endpoint=endpoint,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region=REGION,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "allow_invalid_certificates": True},
        )
        self._threads = ThreadPoolExecutor(THREADS)

    def cat(self, keys: Sequence[str]) -> Iterable[Any]:
        def read(key: str) -> Any:
            return self._obstore.get(self._store, key).bytes()

        return list(self._threads.map(read, keys))

    def get(self, key: str, path: str) -> object:
        with open(path, "wb") as file:
            for chunk in self._obstore.get(self._store, key).stream(min_chunk_size=READ_BYTES):
                file.write(chunk)
        return None

    def open(self, key: str) -> Any:
        return self._obstore.open_reader(self._store, key)

    def put(self, path: str, key: str) -> object:
        return self._obstore.put(self._store, key, Path(path))

    def pipe(self, items: dict[str, bytes]) -> object:
        put = partial(self._obstore.put, self._store)
        return list(self._threads.map(lambda item: put(*item), items.items()))

    def rm(self, keys: Sequence[str]) -> object:
        return self._obstore.delete(self._store, list(keys))


class _Arrow:
    """pyarrow.fs.S3FileSystem, many objects in 32 threads."""

    def __init__(self, endpoint: str, ca_file: str) -> None:
        from pyarrow import fs

        scheme, _, host = endpoint.partition("://")
        self._fs = fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            region=REGION,
            scheme=scheme,
            endpoint_override=host,
            **({"tls_ca_file_path": ca_file} if scheme == "https" else {}),
        )
        self._threads = ThreadPoolExecutor(THREADS)

    def cat(self, keys: Sequence[str]) -> Iterable[Any]:
        return list(self._threads.map(lambda key: self.open(key).read(), keys))

    def get(self, key: str, path: str) -> object:
        with self._fs.open_input_stream(f"{BUCKET}/{key}") as source, open(path, "wb") as file:
            shutil.copyfileobj(source, file, READ_BYTES)
        return None

    def open(self, key: str) -> Any:
        return self._fs.open_input_file(f"{BUCKET}/{key}")

    def put(self, path: str, key: str) -> object:
        with open(path, "rb") as file, self._fs.open_output_stream(f"{BUCKET}/{key}") as target:
            shutil.copyfileobj(file, target, READ_BYTES)
        return None

    def pipe(self, items: dict[str, bytes]) -> object:
        def write(item: tuple[str, bytes]) -> None:
            with self._fs.open_output_stream(f"{BUCKET}/{item[0]}") as target:
                target.write(item[1])

        return list(self._threads.map(write, items.items()))

    def rm(self, keys: Sequence[str]) -> object:
        return list(self._threads.map(lambda key: self._fs.delete_file(f"{BUCKET}/{key}"), keys))


TOOLS: dict[str, Callable[[str, str], Tool]] = {
    "avroglob": partial(_Fsspec, True),
    "s3fs": partial(_Fsspec, False),
    "obstore": _Obstore,
    "boto3": _Boto3,
    "pyarrow": _Arrow,
}


# --- the work ------------------------------------------------------------------------------------


def _read_through(tool: Tool, keys: Sequence[str], size: int, path: str) -> int:
    total = 0
    for key in keys:
        file = tool.open(key)
        while chunk := file.read(READ_BYTES):
            total += len(chunk)
        file.close() if hasattr(file, "close") else None
    return total


def _read_at_random(tool: Tool, keys: Sequence[str], size: int, path: str) -> int:
    chosen, total = random.Random(0), 0
    for key in keys:
        file = tool.open(key)
        for _ in range(RANDOM_READS):
            file.seek(chosen.randrange(max(1, size - RANDOM_BYTES)))
            total += len(file.read(min(size, RANDOM_BYTES)))
    return total


def _cat(tool: Tool, keys: Sequence[str], size: int, path: str) -> int:
    return sum(len(data) for data in tool.cat(keys))


def _get(tool: Tool, keys: Sequence[str], size: int, path: str) -> int:
    for key in keys:
        tool.get(key, path)
    return len(keys) * os.path.getsize(path)


def _put(tool: Tool, keys: Sequence[str], size: int, path: str) -> int:
    for key in keys:
        tool.put(path, f"new-{key}")
    return len(keys) * size


def _pipe(tool: Tool, keys: Sequence[str], size: int, path: str) -> int:
    data = bytes(size)
    tool.pipe({f"new-{key}": data for key in keys})
    return len(keys) * size


def _rm(tool: Tool, keys: Sequence[str], size: int, path: str) -> int:
    tool.rm(keys)
    return len(keys) * size


WORK: dict[str, Callable[[Tool, Sequence[str], int, str], int]] = {
    "cat": _cat,
    "get": _get,
    "open-sequential": _read_through,
    "open-random": _read_at_random,
    "put": _put,
    "pipe": _pipe,
    "rm": _rm,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one tool in this process."""
    parser = tool_command("benchmarks.bytes_peers", TOOLS)
    parser.set_defaults(bucket=BUCKET)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--work", choices=WORK, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args(arguments)
    tool = TOOLS[options.tool](options.endpoint, options.ca)
    keys = [f"{options.size}-{number}" for number in range(options.count)]
    work = WORK[options.work]
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        path = f"{directory}/file"
        Path(path).write_bytes(b"x")
        work(tool, ["1-0"], 1, path)
        if options.work == "put":
            os.truncate(path, options.size)
        found, figures = take(lambda: work(tool, keys, options.size, path), options)
    print(json.dumps(figures | {"found": found}))


if __name__ == "__main__":
    main()
