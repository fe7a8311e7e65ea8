"""The S3 endpoint that the tests talk to: moto, Ceph RGW, or one that already runs."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import botocore.session
from botocore.config import Config

LOOPBACK = "127.0.0.1"
REGION = "us-east-1"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Endpoint:
    """Where an S3 server answers, and the keys it accepts."""

    url: str
    key: str
    secret: str
    region: str = REGION

    @property
    def storage_options(self) -> dict[str, Any]:
        """What s3fs needs to reach this endpoint, also from a busy machine."""
        named = {"endpoint_url": self.url, "key": self.key, "secret": self.secret}
        return {**named, "config_kwargs": {"connect_timeout": 60, "read_timeout": 120}}

    def client(self) -> Any:
        """A synchronous botocore client, shared by all callers: path style, no retries."""
        return _client(self)


@functools.cache
def _client(endpoint: Endpoint) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=endpoint.region,
        config=Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=120
        ),
    )


class Server(Protocol):
    """An S3 server with the lifetime of a test session."""

    def start(self) -> Endpoint:
        """Start the server and return once it answers."""

    def stop(self) -> None:
        """End what `start` began; nothing to do when that is nothing."""


class MotoServer:
    """moto in a process of its own, on a free port; it ends with the process that started it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Endpoint:
        """Start the process and wait for the line with its port."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name if __spec__ else __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"moto ended with status {self._process.wait()}")
        return Endpoint(f"http://{LOOPBACK}:{port}", "testing", "testing-secret")

    def stop(self) -> None:
        """Close the process's stdin, at which it ends."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.communicate()


class RunningServer:
    """A server that someone else runs, given by its URL: `http://key:secret@host:port`.

    Without keys in the URL, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are taken.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--s3 takes moto, rgw or the URL of an S3 endpoint, not {url!r}")
        self._endpoint = Endpoint(
            url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            key=unquote(parts.username or "") or environ.get("AWS_ACCESS_KEY_ID", ""),
            secret=unquote(parts.password or "") or environ.get("AWS_SECRET_ACCESS_KEY", ""),
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or REGION,
        )

    def start(self) -> Endpoint:
        """Return the endpoint as it was given."""
        return self._endpoint

    def stop(self) -> None:
        """Leave the server as it is."""


def server_for(choice: str, environ: Mapping[str, str] = os.environ) -> Server:
    """The server that `--s3=choice` stands for, not yet started.

    Raises ValueError for a choice that is neither `moto`, `rgw` nor an http(s) URL.
    """
    if choice == "moto":
        return MotoServer()
    if choice == "rgw":
        from tests.support.rgw import RgwServer

        return RgwServer()
    return RunningServer(choice, environ)


def _serve_moto() -> None:
    """Run moto until stdin ends, which it does when the parent closes it or dies."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    waiter = threading.Thread(target=sys.stdin.read)
    waiter.start()
    waiter.join()
    server.stop()


if __name__ == "__main__":
    _serve_moto()
