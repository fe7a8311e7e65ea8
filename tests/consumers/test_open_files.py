"""fsspec's own entry points take `avroglob://` URLs and globs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import fsspec

from tests.conftest import PutObjects
from tests.support.servers import Endpoint

SCRIPT = """
import json, sys
import fsspec

url, options = sys.argv[1], json.loads(sys.argv[2])
assert not any(name.startswith("fsspec_avroglob") for name in sys.modules)
with fsspec.open(url, **options) as file:
    content = file.read().decode()
print(json.dumps([type(fsspec.filesystem("avroglob", **options)).__name__, content]))
"""


def test_glob_opens_in_sorted_order(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({f"logs/{name}": name.encode() for name in ("b.txt", "a.txt", "c.csv", "d/e.txt")})

    files = fsspec.open_files(f"avroglob://{bucket}/logs/*.txt", "rb", **endpoint.storage_options)

    assert [file.path for file in files] == [f"{bucket}/logs/a.txt", f"{bucket}/logs/b.txt"]
    with files as opened:
        assert [file.read() for file in opened] == [b"a.txt", b"b.txt"]


def test_list_of_urls_opens(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({"a": b"1", "b": b"2"})

    urls = [f"avroglob://{bucket}/b", f"avroglob://{bucket}/a"]
    with fsspec.open_files(urls, "rt", **endpoint.storage_options) as opened:
        assert [file.read() for file in opened] == ["2", "1"]


def test_url_round_trips(endpoint: Endpoint, bucket: str) -> None:
    url = f"avroglob://{bucket}/dir/text.txt.gz"

    with fsspec.open(url, "wt", compression="infer", **endpoint.storage_options) as file:
        file.write("Grüße\n")

    with fsspec.open(url, "rt", compression="infer", **endpoint.storage_options) as file:
        assert file.read() == "Grüße\n"


def test_url_resolves_to_fs_and_path(endpoint: Endpoint) -> None:
    fs, path = fsspec.url_to_fs("avroglob://bucket/dir/*.avro", **endpoint.storage_options)

    assert "avroglob" in fs.protocol
    assert path == "bucket/dir/*.avro"


def test_needs_no_import(endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({"key": b"content"})

    options = json.dumps(endpoint.storage_options)
    shown = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"avroglob://{bucket}/key", options],
        capture_output=True,
        text=True,
        check=True,
    )

    found: Any = json.loads(shown.stdout)
    assert found == ["AvroGlobFileSystem", "content"]
