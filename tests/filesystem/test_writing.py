"""Writes: an answer that is lost, a key that is refused, an upload that fails or is cancelled."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec.asyn import sync

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from tests.conftest import MakeFs
from tests.support.faults import Request
from tests.support.proxy import FaultProxy
from tests.support.servers import Endpoint

MB = 2**20
PART = b"x" * (5 * MB)
CONTENT = PART + PART + b"end"

Write = Callable[[AvroGlobFileSystem, str], object]


def uploads(endpoint: Endpoint, bucket: str) -> list[object]:
    found: list[object] = endpoint.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return found


def stored(endpoint: Endpoint, path: str) -> bytes:
    bucket, _, key = path.partition("/")
    content: bytes = endpoint.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


# --- uploads by parts -----------------------------------------------------------------------------


def pipe(fs: AvroGlobFileSystem, path: str) -> None:
    fs.pipe_file(path, CONTENT, chunksize=5 * MB)


def pipe_new(fs: AvroGlobFileSystem, path: str) -> None:
    fs.pipe_file(path, CONTENT, chunksize=5 * MB, mode="create")


def write(fs: AvroGlobFileSystem, path: str) -> None:
    with fs.open(path, "wb", block_size=5 * MB) as file:
        file.write(CONTENT)


def put(fs: AvroGlobFileSystem, path: str) -> None:
    with tempfile.NamedTemporaryFile() as local:
        local.write(CONTENT)
        local.flush()
        fs.put_file(local.name, path, chunksize=5 * MB)


BY_PARTS: dict[str, Write] = {"pipe": pipe, "exclusive pipe": pipe_new, "open": write, "put": put}
by_parts = pytest.mark.parametrize("run", BY_PARTS.values(), ids=list(BY_PARTS))


@by_parts
def test_lost_completion_succeeds(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    endpoint: Endpoint,
    bucket: str,
    run: Write,
) -> None:
    proxy.lose("CompleteMultipartUpload")

    run(counted, f"{bucket}/key")

    assert stored(endpoint, f"{bucket}/key") == CONTENT
    assert uploads(endpoint, bucket) == []
    assert proxy.count("CompleteMultipartUpload") == 1
    assert proxy.count("AbortMultipartUpload") == 0


def test_completed_as_no_such_key_is_fine(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    proxy.lose("CompleteMultipartUpload", times=1)
    proxy.fail("ListParts", 404, "NoSuchKey")

    pipe(counted, f"{bucket}/key")

    assert stored(endpoint, f"{bucket}/key") == CONTENT
    assert proxy.count("CompleteMultipartUpload") == 1


def test_unknown_completion_is_repeated(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    proxy.lose("CompleteMultipartUpload", times=1)
    proxy.fail("ListParts", 503, times=1)

    pipe(counted, f"{bucket}/key")

    assert stored(endpoint, f"{bucket}/key") == CONTENT
    assert proxy.count("CompleteMultipartUpload") == 2  # the second finds no upload


def test_older_object_is_not_the_upload(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    pipe(counted, f"{bucket}/key")
    proxy.clear()
    proxy.drop("CompleteMultipartUpload")

    with pytest.raises(Exception, match=r"[Cc]onnection") as caught:
        pipe(counted, f"{bucket}/key")

    assert any("3 attempts" in note for note in caught.value.__notes__)
    assert proxy.count("CompleteMultipartUpload") == 3
    assert uploads(endpoint, bucket) == []


def test_foreign_abort_fails_the_upload(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    endpoint.client().put_object(Bucket=bucket, Key="key", Body=b"another")

    def abort(request: Request) -> bool:
        endpoint.client().abort_multipart_upload(
            Bucket=bucket, Key="key", UploadId=request.query["uploadId"]
        )
        return True

    proxy.drop("CompleteMultipartUpload", times=1, match=abort)
    proxy.fail("CompleteMultipartUpload", 404, "NoSuchUpload")

    with pytest.raises(FileNotFoundError):
        pipe(counted, f"{bucket}/key")

    assert stored(endpoint, f"{bucket}/key") == b"another"


PARTS_FAIL = {
    "a part": "UploadPart",
    "the completion": "CompleteMultipartUpload",
}


@by_parts
@pytest.mark.parametrize("operation", PARTS_FAIL.values(), ids=list(PARTS_FAIL))
def test_failed_upload_is_aborted(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    endpoint: Endpoint,
    bucket: str,
    run: Write,
    operation: str,
) -> None:
    proxy.fail(operation, 403, "AccessDenied")

    with pytest.raises(PermissionError):
        run(counted, f"{bucket}/key")

    assert uploads(endpoint, bucket) == []
    assert not counted.exists(f"{bucket}/key")


def test_failed_abort_is_named(counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str) -> None:
    proxy.fail("UploadPart", 403, "AccessDenied")
    proxy.fail("AbortMultipartUpload", 403, "AccessDenied")

    with pytest.raises(PermissionError) as caught:
        pipe(counted, f"{bucket}/key")

    assert any(f"of {bucket}/key remain" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("stage", ["UploadPart", "CompleteMultipartUpload"])
async def test_cancelled_upload_is_aborted(
    make_fs: MakeFs, proxy: FaultProxy, endpoint: Endpoint, bucket: str, stage: str
) -> None:
    fs = make_fs(proxy.storage_options, asynchronous=True)
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(request: Request) -> bool:
        loop.call_soon_threadsafe(reached.set)
        return True

    proxy.delay(stage, seconds=3600, match=tell)
    task = asyncio.create_task(fs._pipe_file(f"{bucket}/key", CONTENT, chunksize=5 * MB))
    await reached.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert uploads(endpoint, bucket) == []
    assert {task for task in asyncio.all_tasks() if "pipe" in repr(task)} == set()
    await fs._s3creator.__aexit__(None, None, None)


def test_failed_file_stores_nothing_later(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    proxy.fail("PutObject", 403, "AccessDenied", times=1)
    file = counted.open(f"{bucket}/key", "wb")
    file.write(b"content")

    with pytest.raises(PermissionError):
        file.close()
    file.close()

    assert file.closed
    assert proxy.count("PutObject") == 1
    assert not counted.exists(f"{bucket}/key")


def leave_open(fs: AvroGlobFileSystem, path: str, content: bytes) -> None:
    with fs.open(path, "wb", block_size=5 * MB) as file:
        file.write(content)
        raise RuntimeError("half written")


def leave_open_in_a_transaction(fs: AvroGlobFileSystem, path: str, content: bytes) -> None:
    with fs.transaction:
        try:
            leave_open(fs, path, content)
        except RuntimeError as error:
            failure = error
    raise failure


@pytest.mark.parametrize("content", [b"half", PART + PART], ids=["small", "parts"])
@pytest.mark.parametrize("write_half", [leave_open, leave_open_in_a_transaction])
def test_an_error_while_writing_stores_nothing(
    fs: AvroGlobFileSystem,
    endpoint: Endpoint,
    bucket: str,
    write_half: Callable[[AvroGlobFileSystem, str, bytes], None],
    content: bytes,
) -> None:
    endpoint.client().put_object(Bucket=bucket, Key="key", Body=b"precious")

    with pytest.raises(RuntimeError, match="half written"):
        write_half(fs, f"{bucket}/key", content)

    assert stored(endpoint, f"{bucket}/key") == b"precious"
    assert uploads(endpoint, bucket) == []


# --- exclusive creation ---------------------------------------------------------------------------


def pipe_small(fs: AvroGlobFileSystem, path: str) -> None:
    fs.pipe_file(path, b"mine", mode="create")


def write_small(fs: AvroGlobFileSystem, path: str) -> None:
    with fs.open(path, "xb") as file:
        file.write(b"mine")


def write_nothing(fs: AvroGlobFileSystem, path: str) -> None:
    fs.open(path, "xb").close()


EXCLUSIVE: dict[str, tuple[Write, bytes]] = {
    "pipe": (pipe_small, b"mine"),
    "open": (write_small, b"mine"),
    "open, empty": (write_nothing, b""),
}
exclusive = pytest.mark.parametrize(("run", "content"), EXCLUSIVE.values(), ids=list(EXCLUSIVE))


@exclusive
def test_lost_creation_is_ours(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    endpoint: Endpoint,
    bucket: str,
    run: Write,
    content: bytes,
) -> None:
    proxy.lose("PutObject", times=1)

    run(counted, f"{bucket}/key")

    assert stored(endpoint, f"{bucket}/key") == content
    assert proxy.count("PutObject") == 1


def test_lost_creation_is_found_on_retry(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    proxy.lose("PutObject", times=1)
    proxy.fail("HeadObject", 503, times=1)

    pipe_small(counted, f"{bucket}/key")

    assert stored(endpoint, f"{bucket}/key") == b"mine"
    assert proxy.count("PutObject") == 2


@exclusive
def test_foreign_object_is_not_ours(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    endpoint: Endpoint,
    bucket: str,
    run: Write,
    content: bytes,
) -> None:
    def another(request: Request) -> bool:
        endpoint.client().put_object(Bucket=bucket, Key="key", Body=b"hers")
        return True

    proxy.drop("PutObject", times=1, match=another)

    with pytest.raises(FileExistsError):
        run(counted, f"{bucket}/key")

    assert stored(endpoint, f"{bucket}/key") == b"hers"
    assert proxy.count("PutObject") == 2


@exclusive
def test_earlier_object_is_not_ours(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    endpoint: Endpoint,
    bucket: str,
    run: Write,
    content: bytes,
) -> None:
    def another(request: Request) -> bool:
        endpoint.client().put_object(Bucket=bucket, Key="key", Body=content)
        return True

    # A throttled request has not been carried out, so an equal object is another's.
    proxy.fail("PutObject", 503, times=1, match=another)

    with pytest.raises(FileExistsError):
        run(counted, f"{bucket}/key")


# --- buckets --------------------------------------------------------------------------------------


def test_lost_bucket_response_succeeds(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str
) -> None:
    proxy.lose("CreateBucket", times=1)
    proxy.lose("DeleteBucket", times=1)
    name = f"{bucket[:40]}-new"

    counted.mkdir(name)
    assert counted.exists(name)
    counted.rmdir(name)

    assert not counted.exists(name)
    with pytest.raises(FileNotFoundError):
        counted.rmdir(name)


# --- removal --------------------------------------------------------------------------------------


def delete_answer(*errors: tuple[str, str]) -> bytes:
    items = "".join(
        f"<Error><Key>{key}</Key><Code>{code}</Code><Message>{code}</Message></Error>"
        for key, code in errors
    )
    return f'<?xml version="1.0"?><DeleteResult>{items}</DeleteResult>'.encode()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, counted: AvroGlobFileSystem) -> list[list[str]]:
    """The keys of each DeleteObjects that botocore is given."""
    keys: list[list[str]] = []
    counted.connect()

    def note(params: dict[str, dict[str, list[dict[str, str]]]], **kwargs: object) -> None:
        keys.append([item["Key"] for item in params["Delete"]["Objects"]])

    counted.s3.meta.events.register("provide-client-params.s3.DeleteObjects", note)
    return keys


def test_only_transient_keys_are_retried(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, sent: list[list[str]]
) -> None:
    paths = [f"{bucket}/{name}" for name in "abcde"]
    proxy.fail(
        "DeleteObjects",
        200,
        times=1,
        body=delete_answer(("b", "SlowDown"), ("c", "AccessDenied"), ("d", "InternalError")),
    )
    proxy.fail("DeleteObjects", 200, times=1, body=delete_answer(("d", "SlowDown")))

    with pytest.raises(PermissionError, match=f"1 not deleted: {bucket}/c") as caught:
        counted.rm(paths)

    assert sent == [["a", "b", "c", "d", "e"], ["b", "d"], ["d"]]
    assert "AccessDenied" in str(caught.value)


def test_undeletable_keys_are_named(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, sent: list[list[str]]
) -> None:
    proxy.fail("DeleteObjects", 200, body=delete_answer(("b", "SlowDown")))

    with pytest.raises(OSError, match=f"1 not deleted: {bucket}/b"):
        counted.rm([f"{bucket}/a", f"{bucket}/b"])

    assert sent == [["a", "b"], ["b"], ["b"]]


def test_failed_batch_stops_no_other(
    counted: AvroGlobFileSystem, proxy: FaultProxy, bucket: str, sent: list[list[str]]
) -> None:
    paths = [f"{bucket}/{number:04}" for number in range(2_500)]
    proxy.fail("DeleteObjects", 409, "OperationAborted", times=1)

    with pytest.raises(OSError, match="OperationAborted"):
        counted.rm(paths)

    assert sorted(map(len, sent)) == [500, 1000, 1000]


def test_non_xml_keys_are_deleted_alone(
    make_fs: MakeFs, bucket: str, put: Callable[..., None]
) -> None:
    keys = ["a\rb", "tab\t", "bell\x07", "plain", "ü", "\u2028"]
    put(dict.fromkeys([*keys, "stays"], b""))
    fs = make_fs()

    fs.rm([f"{bucket}/{key}" for key in keys])

    assert fs.find(bucket) == [f"{bucket}/stays"]


def test_rm_takes_buckets_and_levels(counted: AvroGlobFileSystem, bucket: str) -> None:
    other = f"{bucket[:40]}-other"
    counted.mkdir(other)
    for path in (f"{bucket}/a", f"{bucket}/d/b", f"{bucket}/d/e/c", f"{other}/x"):
        counted.touch(path)

    counted.rm([f"{bucket}/a", f"{other}/x"])
    counted.rm(f"{bucket}/d", recursive=True, maxdepth=1)

    assert counted.find(bucket) == [f"{bucket}/d/e/c"]
    assert counted.find(other) == []
    counted.rm(other, recursive=True)
    assert not counted.exists(other)


# --- copies ---------------------------------------------------------------------------------------


def test_large_copy_keeps_metadata(
    counted: AvroGlobFileSystem, proxy: FaultProxy, endpoint: Endpoint, bucket: str
) -> None:
    content = CONTENT
    source = f"{bucket}/from ä?versionId=1"
    counted.pipe_file(source, content, ContentType="text/x", Metadata={"a": "b"})
    proxy.lose("CompleteMultipartUpload", times=1)

    sync(counted.loop, counted._copy_managed, source, f"{bucket}/to", len(content), 5 * MB)

    assert stored(endpoint, f"{bucket}/to") == content
    head = endpoint.client().head_object(Bucket=bucket, Key="to")
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"a": "b"})
    assert proxy.count("UploadPartCopy") == 3


# --- moves ----------------------------------------------------------------------------------------


SPELLINGS = {
    "protocol": ("s3://{}/d/x", "{}/d/x"),
    "slash": ("{}/d/x", "/{}/d/x"),
    "protocols": ("avroglob://{}/d/x", "s3://{}/d/x"),
    "directory": ("{}/d/x", "{}/d/"),
    "glob": ("{}/d/*", "{}/d/"),
}


@pytest.mark.parametrize(("source", "target"), SPELLINGS.values(), ids=list(SPELLINGS))
def test_a_move_of_an_object_onto_itself_does_nothing(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    endpoint: Endpoint,
    bucket: str,
    source: str,
    target: str,
) -> None:
    endpoint.client().put_object(Bucket=bucket, Key="d/x", Body=b"precious")

    counted.mv(source.format(bucket), target.format(bucket))
    counted.mv([f"{bucket}/d/x"], [f"/{bucket}/d/x"])
    sync(counted.loop, counted._mv_file, f"s3://{bucket}/d/x", f"{bucket}/d/x")

    assert stored(endpoint, f"{bucket}/d/x") == b"precious"
    assert proxy.count("CopyObject") == proxy.count("DeleteObjects") == 0


def test_a_move_removes_only_what_it_copied(
    fs: AvroGlobFileSystem, endpoint: Endpoint, bucket: str
) -> None:
    for key in ("d/x", "d/deep/y"):
        endpoint.client().put_object(Bucket=bucket, Key=key, Body=b"precious")

    fs.mv(f"{bucket}/d/*", f"{bucket}/to/")
    sync(fs.loop, fs._mv_file, f"{bucket}/to/x", f"{bucket}/z")

    assert fs.find(bucket) == [f"{bucket}/d/deep/y", f"{bucket}/z"]


# --- buckets --------------------------------------------------------------------------------------


def put_directory(fs: AvroGlobFileSystem, bucket: str, local: Path) -> None:
    fs.put(str(local), bucket, recursive=True)


def open_by_url(fs: AvroGlobFileSystem, bucket: str, local: Path) -> None:
    with fsspec.open(f"avroglob://{bucket}/x", "wb", **fs.storage_options) as file:
        file.write(b"content")


def make_directories(fs: AvroGlobFileSystem, bucket: str, local: Path) -> None:
    fs.makedirs(f"{bucket}/a/b", exist_ok=True)
    fs.mkdir(f"{bucket}/a/b")
    raise FileNotFoundError  # as the others do


@pytest.mark.parametrize("run", [put_directory, open_by_url, make_directories])
def test_only_the_name_of_a_bucket_makes_a_bucket(
    counted: AvroGlobFileSystem,
    proxy: FaultProxy,
    bucket: str,
    tmp_path: Path,
    run: Callable[[AvroGlobFileSystem, str, Path], None],
) -> None:
    (tmp_path / "file").write_bytes(b"content")

    with pytest.raises(FileNotFoundError):
        run(counted, f"{bucket}-misspelt", tmp_path)

    assert proxy.count("CreateBucket") == 0
    counted.makedirs(f"{bucket}-new", exist_ok=True)
    assert proxy.count("CreateBucket") == 1
    counted.rmdir(f"{bucket}-new")
