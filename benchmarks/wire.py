"""A loopback S3 endpoint that moves bytes at little cost: `python -m benchmarks.wire`.

A thread serves each connection with blocking calls that release the GIL. The key of an object
says its size: `bucket/8388608-3` has 8 MiB. Written bytes are counted and dropped, except for
their number, so a written object reads as the content that its size stands for.

`with WireServer() as server:` starts and stops a process with an http and an https port. Control
requests go to `server.url`, as in `benchmarks.endpoint`:

    GET  /-/stats      requests by operation, peak in flight, bytes sent and received
    POST /-/reset      start counting from zero
    POST /-/configure  {"latency_s": 0.03, "rate": 80e6}    rate: bytes a second of a connection
"""

import contextlib
import io
import json
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import escape
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.endpoint import CONTROL, control

PATTERN = bytes(range(1, 252)) * 4177  # 251 and 4,177 are primes: no part looks like another
_SEND_BYTES = 1 << 20
_VIEW = memoryview(PATTERN + PATTERN[:_SEND_BYTES] * 2)
_HEADERS = "Last-Modified: Mon, 30 Nov 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def content(start: int, stop: int) -> bytes:
    """Return the bytes [start, stop) of every object."""
    return b"".join(_slices(start, stop))


def _slices(start: int, stop: int) -> Iterator[memoryview]:
    while start < stop:
        at = start % len(PATTERN)
        size = min(_SEND_BYTES, stop - start)
        yield _VIEW[at : at + size]
        start += size


class _State:
    """What all connections share."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.rate: float | None = None
        self.lock = threading.Lock()
        self.written: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        self.requests: Counter[str] = Counter()
        self.peak = self.in_flight = self.sent = self.received = 0

    def size_of(self, path: str) -> int | None:
        """Return the size of an object: as written, or as its name says."""
        name = path.rpartition("/")[2].partition("-")[0]
        return self.written.get(path, int(name) if name.isdecimal() else None)


class _Connection:
    """Serves the requests of one connection."""

    def __init__(self, state: _State, sock: socket.socket) -> None:
        self._state, self._sock = state, sock
        self._file = io.BufferedReader(sock.makefile("rb", buffering=0), 1 << 16)
        self._scratch = bytearray(_SEND_BYTES)

    def run(self) -> None:
        """Serve until the client closes the connection."""
        with contextlib.suppress(OSError), self._sock:
            while self._serve():
                pass

    def _serve(self) -> bool:
        first = self._file.readline().decode("latin-1").split()
        if len(first) != 3:
            return False
        headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        method, target = first[0], first[1]
        if target.startswith(CONTROL):
            self._control(target.removeprefix(CONTROL), self._body(headers, keep=True)[1])
            return True
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        state, operation = self._state, _operation(method, url.path, query, headers)
        with state.lock:
            state.requests[operation] += 1
            state.in_flight += 1
            state.peak = max(state.peak, state.in_flight)
        try:
            size, body = self._body(headers, keep=method == "POST")
            if state.latency_s:
                time.sleep(state.latency_s)
            self._answer(operation, unquote(url.path)[1:], query, headers, size, body)
        finally:
            with state.lock:
                state.in_flight -= 1
                state.received += size
        return headers.get("connection", "").lower() != "close"

    # -- requests --

    def _body(self, headers: dict[str, str], *, keep: bool) -> tuple[int, bytes]:
        """Read the body; return its size, and its bytes if they are to be kept."""
        if "100-continue" in headers.get("expect", "").lower():
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        total, kept = 0, bytearray()
        for size in self._chunks() if chunked else [int(headers.get("content-length", 0))]:
            total += size
            kept += self._read(size, keep=keep)
            if chunked:
                self._file.readline()
        decoded = headers.get("x-amz-decoded-content-length")
        return int(decoded) if decoded else total, bytes(kept)

    def _chunks(self) -> Iterator[int]:
        while size := int(self._file.readline().split(b";")[0], 16):
            yield size
        while self._file.readline().strip():
            pass  # a trailer

    def _read(self, size: int, *, keep: bool) -> bytes:
        if keep:
            return self._file.read(size)
        started, left, view = time.monotonic(), size, memoryview(self._scratch)
        while left and (got := self._file.readinto(view[: min(left, len(view))])):
            left -= got
            self._pace(started, size - left)
        return b""

    def _pace(self, started: float, moved: int) -> None:
        if self._state.rate:
            time.sleep(max(0.0, started + moved / self._state.rate - time.monotonic()))

    # -- answers --

    def _send(self, body: bytes = b"", status: int = 200, more: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        self._sock.sendall(head.encode("latin-1") + body)

    def _control(self, action: str, body: bytes) -> None:
        state, answer = self._state, {}
        with state.lock:
            if action == "stats":
                answer = {"requests": dict(state.requests), "peak_in_flight": state.peak}
                answer |= {"sent": state.sent, "received": state.received}
            elif action == "configure":
                vars(state).update(json.loads(body))
            state.requests = state.requests if action == "stats" else Counter()
            if action != "stats":
                state.reset()
        self._send(json.dumps(answer).encode())

    def _answer(
        self,
        operation: str,
        path: str,
        query: dict[str, list[str]],
        headers: dict[str, str],
        size: int,
        body: bytes,
    ) -> None:
        written, etag = self._state.written, 'ETag: "e"\r\n'
        if operation in ("GetObject", "HeadObject"):
            self._object(path, headers, head=operation == "HeadObject")
        elif operation == "PutObject":
            written[path] = size
            self._send(more=etag)
        elif operation == "UploadPart":
            self._send(more=etag)
        elif operation == "CreateMultipartUpload":
            self._xml("InitiateMultipartUploadResult", "<UploadId>u</UploadId>")
        elif operation == "CompleteMultipartUpload":
            self._xml("CompleteMultipartUploadResult", "<ETag>&quot;e-1&quot;</ETag>")
        elif operation == "ListObjectsV2":
            self._list(path.rstrip("/"), query.get("prefix", [""])[0])
        elif operation == "DeleteObjects":
            for key in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                written.pop(f"{path.rstrip('/')}/{key}", None)
            self._xml("DeleteResult", "")
        else:
            written.pop(path, None)
            self._send(status=204 if operation == "DeleteObject" else 200)

    def _xml(self, name: str, content: str) -> None:
        body = f'<?xml version="1.0"?><{name}>{content}</{name}>'.encode()
        self._send(body, more="Content-Type: application/xml\r\n")

    def _list(self, bucket: str, prefix: str) -> None:
        names = (path.removeprefix(f"{bucket}/") for path in self._state.written)
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-30T00:00:00.000Z"
            f"</LastModified><ETag>&quot;e&quot;</ETag>"
            f"<Size>{self._state.size_of(f'{bucket}/{key}')}</Size></Contents>"
            for key in sorted(names)
            if key.startswith(prefix)
        )
        self._xml("ListBucketResult", f"<IsTruncated>false</IsTruncated>{entries}")

    def _object(self, path: str, headers: dict[str, str], *, head: bool) -> None:
        size = self._state.size_of(path)
        if size is None:
            self._send(b"" if head else b"<Error><Code>NoSuchKey</Code></Error>", 404)
            return
        start, stop, status, more = 0, size, 200, _HEADERS + f'ETag: "{size}"\r\n'
        if asked := _RANGE.fullmatch(headers.get("range", "")):
            first, last = asked.groups()
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            if start >= stop:
                self._send(b"<Error><Code>InvalidRange</Code></Error>", 416)
                return
            status, more = 206, more + f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n"
        line = f"HTTP/1.1 {status} X\r\nContent-Length: {stop - start}\r\n{more}\r\n"
        self._sock.sendall(line.encode())
        if head:
            return
        started, moved = time.monotonic(), 0
        for part in _slices(start, stop):
            self._sock.sendall(part)
            moved += len(part)
            self._pace(started, moved)
        with self._state.lock:
            self._state.sent += moved


def _operation(method: str, path: str, query: dict[str, list[str]], headers: dict[str, str]) -> str:
    key = path[1:].partition("/")[2]
    if method == "PUT":
        return "UploadPart" if "partNumber" in query else "PutObject"
    if method == "POST":
        if "delete" in query:
            return "DeleteObjects"
        return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
    if method == "DELETE":
        return "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
    if not key:
        return "HeadBucket" if method == "HEAD" else "ListObjectsV2"
    return "HeadObject" if method == "HEAD" else "GetObject"


def certificate(directory: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1, signed by itself, and its key; return their paths."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(signed.public_bytes(pem))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(pem, *private))
    return paths


def _listen(state: _State, context: ssl.SSLContext | None) -> int:
    """Serve on a free port in threads; return the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            _Connection(state, sock).run()

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


class WireServer:
    """Starts and stops a server process, and sends it control requests.

    url, https_url: its endpoints. ca_file: the certificate that signs the second one.
    """

    def __enter__(self) -> "WireServer":
        """Start the process and wait until it serves."""
        self._directory = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.wire", self._directory.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self._process.stdout is not None
        self.url, self.https_url = self._process.stdout.readline().split()
        self.ca_file = f"{self._directory.name}/certificate.pem"
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        self._process.communicate()  # closes its standard input: the process ends
        self._directory.cleanup()

    def configure(self, **conditions: float | None) -> None:
        """Set `latency_s` and `rate`, and start counting from zero."""
        control(self.url, "configure", conditions)

    def stats(self) -> dict[str, Any]:
        """Return the counts since the last reset."""
        return control(self.url, "stats")


def main() -> None:
    """Serve until standard input closes; print the two URLs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(Path(sys.argv[1])))
    state = _State()
    ports = _listen(state, None), _listen(state, context)
    print(f"http://127.0.0.1:{ports[0]} https://127.0.0.1:{ports[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
