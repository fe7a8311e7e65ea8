"""The S3 operation that a path-style HTTP request asks for.

Names and the requests they stand for are those of the Amazon S3 API Reference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

# Query parameter that selects the operation, by kind of resource; the first one present decides.
_BUCKET_GET = {
    "uploads": "ListMultipartUploads",
    "versions": "ListObjectVersions",
    "location": "GetBucketLocation",
    "versioning": "GetBucketVersioning",
    "tagging": "GetBucketTagging",
    "policy": "GetBucketPolicy",
    "acl": "GetBucketAcl",
}
_BUCKET_PUT = {
    "versioning": "PutBucketVersioning",
    "tagging": "PutBucketTagging",
    "policy": "PutBucketPolicy",
    "acl": "PutBucketAcl",
}
_BUCKET_DELETE = {"tagging": "DeleteBucketTagging", "policy": "DeleteBucketPolicy"}
_OBJECT_GET = {
    "uploadId": "ListParts",
    "attributes": "GetObjectAttributes",
    "tagging": "GetObjectTagging",
    "acl": "GetObjectAcl",
}
_OBJECT_PUT = {"tagging": "PutObjectTagging", "acl": "PutObjectAcl"}
_OBJECT_POST = {
    "uploads": "CreateMultipartUpload",
    "uploadId": "CompleteMultipartUpload",
    "select": "SelectObjectContent",
}
_OBJECT_DELETE = {"uploadId": "AbortMultipartUpload", "tagging": "DeleteObjectTagging"}


def operation_name(
    method: str, path: str, query: Mapping[str, str], headers: Collection[str]
) -> str:
    """Name the S3 operation of a request.

    Parameters
    ----------
    method : str
        HTTP method, in capitals.
    path : str
        Path of the URL, `/bucket/key`.
    query : mapping
        Query parameters by name.
    headers : collection
        Names of the headers, in lower case.

    Returns
    -------
    str
        For example `ListObjectsV2`; the method itself when S3 has no such operation.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    if key:
        return _object_operation(method, query, headers)
    if bucket:
        return _bucket_operation(method, query)
    return "ListBuckets" if method == "GET" else method


def _bucket_operation(method: str, query: Mapping[str, str]) -> str:
    match method:
        case "GET":
            listing = "ListObjectsV2" if query.get("list-type") == "2" else "ListObjects"
            return _selected(_BUCKET_GET, query, listing)
        case "HEAD":
            return "HeadBucket"
        case "PUT":
            return _selected(_BUCKET_PUT, query, "CreateBucket")
        case "DELETE":
            return _selected(_BUCKET_DELETE, query, "DeleteBucket")
        case "POST" if "delete" in query:
            return "DeleteObjects"
    return method


def _object_operation(method: str, query: Mapping[str, str], headers: Collection[str]) -> str:
    match method:
        case "GET":
            return _selected(_OBJECT_GET, query, "GetObject")
        case "HEAD":
            return "HeadObject"
        case "PUT":
            copied = "x-amz-copy-source" in headers
            if "uploadId" in query:
                return "UploadPartCopy" if copied else "UploadPart"
            return _selected(_OBJECT_PUT, query, "CopyObject" if copied else "PutObject")
        case "POST":
            return _selected(_OBJECT_POST, query, method)
        case "DELETE":
            return _selected(_OBJECT_DELETE, query, "DeleteObject")
    return method


def _selected(choices: Mapping[str, str], query: Mapping[str, str], otherwise: str) -> str:
    return next((name for parameter, name in choices.items() if parameter in query), otherwise)
