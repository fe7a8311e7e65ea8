"""pandas reads `avroglob://` URLs, also where nothing has imported the package."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pytest

from tests.conftest import PutObjects
from tests.support.servers import Endpoint

FRAME = pd.DataFrame({"user": [1, 2, 3], "city": ["Zürich", "Łódź", "Oslo"]})

# What the new interpreter runs: reader, URL and storage options come as arguments.
SCRIPT = """
import json, sys
import pandas

reader, url, options = sys.argv[1:]
frame = getattr(pandas, reader)(url, storage_options=json.loads(options))
print(frame.to_json(orient="split"))
"""


def to_csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def to_json(frame: pd.DataFrame) -> bytes:
    return frame.to_json(orient="records").encode()


def to_parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


READERS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {
    "read_csv": to_csv,
    "read_json": to_json,
    "read_parquet": to_parquet,
}


@pytest.mark.parametrize("reader", READERS)
def test_url_is_read(reader: str, endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({"dir/data": READERS[reader](FRAME)})

    read: Any = getattr(pd, reader)
    frame = read(f"avroglob://{bucket}/dir/data", storage_options=endpoint.storage_options)

    pd.testing.assert_frame_equal(frame, FRAME)


@pytest.mark.parametrize("reader", READERS)
def test_needs_no_import(reader: str, endpoint: Endpoint, bucket: str, put: PutObjects) -> None:
    put({"dir/data": READERS[reader](FRAME)})

    url, options = f"avroglob://{bucket}/dir/data", json.dumps(endpoint.storage_options)
    shown = subprocess.run(
        [sys.executable, "-c", SCRIPT, reader, url, options],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(shown.stdout) == json.loads(FRAME.to_json(orient="split"))


@pytest.mark.parametrize("writer", ["to_csv", "to_json", "to_parquet"])
def test_frame_round_trips(writer: str, endpoint: Endpoint, bucket: str) -> None:
    url, options = f"avroglob://{bucket}/out/{writer}", endpoint.storage_options
    index = {"index": False} if writer == "to_csv" else {}

    getattr(FRAME, writer)(url, storage_options=options, **index)

    read: Any = getattr(pd, writer.replace("to_", "read_"))
    pd.testing.assert_frame_equal(read(url, storage_options=options), FRAME)
