"""Calls of a filesystem by name, each with the S3 operation that it comes to."""

from __future__ import annotations

from collections.abc import Callable

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

Operation = Callable[[AvroGlobFileSystem, str], object]


def bucket_of(path: str) -> str:
    return path.partition("/")[0]


def write_file(fs: AvroGlobFileSystem, path: str, size: int = 3) -> None:
    file = fs.open(path, "wb", block_size=5 * 2**20)
    try:
        file.write(b"x" * size)
        file.close()
    finally:
        file.closed = True  # else it would be written once more in the end


def read_file(fs: AvroGlobFileSystem, path: str) -> bytes:
    with fs.open(path) as file:
        content: bytes = file.read()
    return content


def write_parts(fs: AvroGlobFileSystem, path: str) -> None:
    fs.pipe_file(path, b"12345678", chunksize=4, max_concurrency=1)


READS: dict[str, tuple[str, Operation]] = {
    "info": ("HeadObject", lambda fs, path: fs.info(path)),
    "exists": ("HeadObject", lambda fs, path: fs.exists(path)),
    "size": ("HeadObject", lambda fs, path: fs.size(path)),
    "info of bucket": ("HeadBucket", lambda fs, path: fs.info(bucket_of(path))),
    "cat": ("GetObject", lambda fs, path: fs.cat(path)),
    "cat_file": ("GetObject", lambda fs, path: fs.cat_file(path)),
    "cat_file range": ("GetObject", lambda fs, path: fs.cat_file(path, start=2, end=5)),
    "cat_file parts": (
        "GetObject",
        lambda fs, path: fs.cat_file(path, chunksize=12, max_concurrency=2),
    ),
    "get_file": ("GetObject", lambda fs, path: fs.get_file(path, "/dev/null")),
    "open": ("GetObject", read_file),
    "ls": ("ListObjectsV2", lambda fs, path: fs.ls(bucket_of(path))),
    "find": ("ListObjectsV2", lambda fs, path: fs.find(bucket_of(path))),
    "find with depth": (
        "ListObjectsV2",
        lambda fs, path: fs.find(bucket_of(path), maxdepth=1, prefix="d"),
    ),
    "glob": ("ListObjectsV2", lambda fs, path: fs.glob(f"{bucket_of(path)}/*/k*")),
    "iglob": ("ListObjectsV2", lambda fs, path: list(fs.iglob(f"{bucket_of(path)}/*/k*"))),
    "isdir": ("ListObjectsV2", lambda fs, path: fs.isdir(path)),
    "du": ("ListObjectsV2", lambda fs, path: fs.du(bucket_of(path))),
    "ls of buckets": ("ListBuckets", lambda fs, path: fs.ls("")),
    "get_tags": ("GetObjectTagging", lambda fs, path: fs.get_tags(path)),
    "uploads": (
        "ListMultipartUploads",
        lambda fs, path: fs.list_multipart_uploads(bucket_of(path)),
    ),
    "versioning": ("GetBucketVersioning", lambda fs, path: fs.is_bucket_versioned(bucket_of(path))),
}
WRITES: dict[str, tuple[str, Operation]] = {
    "pipe_file": ("PutObject", lambda fs, path: fs.pipe_file(path, b"1")),
    "put_file": ("PutObject", lambda fs, path: fs.put_file(__file__, path)),
    "touch": ("PutObject", lambda fs, path: fs.touch(path)),
    "open": ("PutObject", write_file),
    "cp_file": ("CopyObject", lambda fs, path: fs.cp_file(path, path + "2")),
    "rm_file": ("DeleteObject", lambda fs, path: fs.rm_file(path)),
    "rm": ("DeleteObjects", lambda fs, path: fs.rm([path])),
    "rmdir": ("DeleteBucket", lambda fs, path: fs.rmdir(bucket_of(path))),
    "mkdir": ("CreateBucket", lambda fs, path: fs.mkdir(bucket_of(path)[:40] + "-new")),
    "put_tags": ("PutObjectTagging", lambda fs, path: fs.put_tags(path, {"a": "b"})),
    "chmod": ("PutObjectAcl", lambda fs, path: fs.chmod(path, "private")),
    "create upload": ("CreateMultipartUpload", write_parts),
    "upload part": ("UploadPart", write_parts),
    "open, upload part": ("UploadPart", lambda fs, path: write_file(fs, path, 6 * 2**20)),
    "abort upload": (
        "AbortMultipartUpload",
        lambda fs, path: fs.abort_mpu(*path.split("/", 1), "none"),
    ),
}
OPERATIONS = {
    **{f"read: {name}": value for name, value in READS.items()},
    **{f"write: {name}": value for name, value in WRITES.items()},
}
HEAD_GET_LIST_PUT = {
    name: OPERATIONS[name] for name in ("read: info", "read: cat_file", "read: ls", "write: touch")
}
