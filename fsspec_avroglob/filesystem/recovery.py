"""Requests that cannot simply be repeated: find out what became of one whose response was lost.

Most requests are repeated as they are. The others are the classes of this module:

- :class:`MultipartCreation` aborts the upload that a cancelled request created.
- :class:`MultipartCompletion` and :class:`ExclusivePut` check whether a lost attempt made the
  object.
- :class:`Deletion` repeats only the keys whose deletion may still succeed.
- :class:`Idempotent` takes "already done" for a success after a lost response.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, ClassVar

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
)

from fsspec_avroglob.aio.blocking import STOP_S
from fsspec_avroglob.s3.classification import THROTTLED
from fsspec_avroglob.s3.translation import PRECONDITION_CODES, error_code, rule_of

_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_SHOWN_KEYS = 20

# Last-Modified and Date are in whole seconds, so they may differ by this much for one moment.
_CLOCK_STEP_S = 2.0

ANSWER_S = STOP_S - 1
"""How long a cancelled CreateMultipartUpload waits for its response, in seconds.

Only the response says which upload to abort. The abort has one more second.
"""

Send = Callable[..., Awaitable[Any]]
"""``send(method, **arguments)`` sends one request of the S3 client. Raises what botocore raises."""

# Errors for an upload that was completed or aborted. Ceph's RGW answers NoSuchKey.
_UPLOAD_GONE = ("NoSuchUpload", "NoSuchKey")


def repeatable(
    send: Send, look_up: Send, method: str, arguments: Mapping[str, Any]
) -> Callable[[], Awaitable[Any]]:
    """Return one attempt at ``method(**arguments)``, which may be called again after it failed.

    *look_up* sends further requests within an attempt.
    """
    recovery = _RECOVERIES.get(method)
    overwrites = method == "put_object" and arguments.get("IfNoneMatch") != "*"
    if recovery is None or overwrites:
        return partial(send, method, **arguments)
    return recovery(send, look_up, method, arguments).attempt


def response_lost(error: Exception) -> bool:
    """Whether the server may have carried out a request that failed with *error*."""
    return rule_of(error).cause not in (None, THROTTLED) and not isinstance(error, _NOT_SENT)


@dataclass
class _WriteRecovery:
    """A request with its parameters (see :func:`repeatable`)."""

    send: Send
    look_up: Send
    method: str
    arguments: Mapping[str, Any]

    async def attempt(self) -> Any:
        """Send the request and return its response."""
        raise NotImplementedError

    async def request(self) -> Any:
        return await self.send(self.method, **self.arguments)

    @property
    def target(self) -> dict[str, Any]:
        return {name: self.arguments[name] for name in ("Bucket", "Key")}


@dataclass
class Idempotent(_WriteRecovery):
    """A request that fails if it is repeated, although its first attempt reached its goal."""

    lost: bool = False
    already_done: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "abort_multipart_upload": _UPLOAD_GONE,
        "create_bucket": ("BucketAlreadyOwnedByYou",),
        "delete_bucket": ("NoSuchBucket",),
    }

    async def attempt(self) -> Any:
        """Send the request. "Already done" is a success after a lost response."""
        try:
            return await self.request()
        except Exception as error:
            if self.lost and error_code(error) in self.already_done[self.method]:
                return {}
            self.lost = self.lost or response_lost(error)
            raise


class MultipartCreation(_WriteRecovery):
    """CreateMultipartUpload. Only its response says which upload to abort."""

    async def attempt(self) -> Any:
        """Send the request. If cancelled, wait for the response and abort the upload."""
        request = asyncio.ensure_future(self.request())
        try:
            return await asyncio.shield(request)
        except asyncio.CancelledError as cancelled:
            await asyncio.wait([request], timeout=ANSWER_S)
            if not request.done():
                request.cancel()
                await asyncio.wait([request])
            if not request.cancelled() and request.exception() is None:
                await self._abort(request.result()["UploadId"], cancelled)
            raise

    async def _abort(self, upload: str, cancelled: asyncio.CancelledError) -> None:
        try:
            await self.look_up("abort_multipart_upload", **self.target, UploadId=upload)
        except Exception as error:
            path = "/".join(self.target.values())
            cancelled.add_note(f"the parts of upload {upload} of {path} remain: {error}")


@dataclass
class _ObjectCreation(_WriteRecovery):
    """A request that makes an object. After a lost response, look for the object."""

    lost: bool = False
    began_s: float = field(default_factory=time.monotonic)
    # Errors that an earlier successful attempt may cause.
    ambiguous: ClassVar[tuple[str, ...]] = PRECONDITION_CODES

    async def attempt(self) -> Any:
        """Send the request. Return its response, or one made from the object that exists."""
        try:
            return await self.request()
        except Exception as error:
            if response_lost(error):
                self.lost = True
            elif not (self.lost and error_code(error) in self.ambiguous):
                raise
            head = None
            try:
                found = await self._head()
                if found is not None and self._is_ours(found):
                    head = found
            except Exception as unknown:
                error.add_note(f"cannot find out whether {self.method} succeeded: {unknown}")
            if head is None:
                raise
            names = ("ETag", "VersionId", "ServerSideEncryption", "ResponseMetadata")
            return {**self.target, **{name: head[name] for name in names if name in head}}

    async def _head(self) -> Mapping[str, Any] | None:
        """Return the response of HEAD, None if there is no object."""
        try:
            head: Mapping[str, Any] = await self.look_up("head_object", **self.target)
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchKey"):
                return None
            raise
        return head

    def _is_ours(self, head: Mapping[str, Any]) -> bool:
        """Whether this request made the object that *head* describes."""
        raise NotImplementedError


class MultipartCompletion(_ObjectCreation):
    """CompleteMultipartUpload. It succeeded if the upload is gone and its object exists."""

    ambiguous = (*_UPLOAD_GONE, *PRECONDITION_CODES)

    async def _head(self) -> Mapping[str, Any] | None:
        upload = self.arguments["UploadId"]
        try:
            await self.look_up("list_parts", **self.target, UploadId=upload, MaxParts=1)
        except ClientError as error:
            if error_code(error) not in _UPLOAD_GONE:
                raise
            return await super()._head()
        return None

    def _is_ours(self, head: Mapping[str, Any]) -> bool:
        parts = [part["ETag"] for part in self.arguments["MultipartUpload"]["Parts"]]
        etag: str = head["ETag"].strip('"')
        if _has_content_etag(head):
            return etag == multipart_etag(parts)
        return etag.endswith(f"-{len(parts)}")


class ExclusivePut(_ObjectCreation):
    """PutObject with ``IfNoneMatch="*"``. The object that exists may be that of a lost attempt.

    It is, if it has our size and content and is no older than the first attempt.
    """

    def _is_ours(self, head: Mapping[str, Any]) -> bool:
        body = self.arguments.get("Body", b"")
        if not isinstance(body, bytes | bytearray | memoryview):
            return False
        if head["ContentLength"] != memoryview(body).nbytes or self._is_older(head):
            return False
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return not _has_content_etag(head) or bool(head["ETag"].strip('"') == digest)

    def _is_older(self, head: Mapping[str, Any]) -> bool:
        """Whether the object is older than the first attempt, by the server's own clock."""
        now = head.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if now is None:
            return False
        age_s = (parsedate_to_datetime(now) - head["LastModified"]).total_seconds()
        return bool(age_s > time.monotonic() - self.began_s + _CLOCK_STEP_S)


def multipart_etag(parts: Sequence[str]) -> str | None:
    """Return the ETag of an object of parts with these ETags, None if they are not MD5 sums."""
    digests = [_MD5.fullmatch(part) for part in parts]
    if not all(digests):
        return None
    joined = b"".join(bytes.fromhex(digest[1]) for digest in digests if digest)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _has_content_etag(head: Mapping[str, Any]) -> bool:
    """Whether the ETag is made of the content: not with keys of KMS or of the customer."""
    encryption = head.get("ServerSideEncryption")
    return encryption in (None, "AES256") and "SSECustomerAlgorithm" not in head


@dataclass
class Deletion(_WriteRecovery):
    """DeleteObjects. A response with status 200 may list keys that failed."""

    def __post_init__(self) -> None:
        self._remaining = list(self.arguments["Delete"]["Objects"])
        self._deleted: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []

    async def attempt(self) -> dict[str, Any]:
        """Delete the remaining keys. Raises ClientError that names the keys that failed.

        Returns the response, with ``Deleted`` of all attempts.
        """
        delete = {**self.arguments["Delete"], "Objects": self._remaining}
        answer = await self.send(self.method, **{**self.arguments, "Delete": delete})
        self._deleted += answer.get("Deleted", ())
        failed = answer.get("Errors", ())
        transient = [item for item in failed if rule_of(_as_error(item)).cause is not None]
        self._refused += [item for item in failed if item not in transient]
        again = {_identity(item) for item in transient}
        self._remaining = [item for item in self._remaining if _identity(item) in again]
        if transient or self._refused:
            raise _deletion_error(self.arguments["Bucket"], [*transient, *self._refused])
        return {**answer, "Deleted": self._deleted}


def _deletion_error(bucket: str, failed: Sequence[Mapping[str, Any]]) -> ClientError:
    """Return an error that names the keys of *failed*, entries of DeleteObjects' ``Errors``."""
    shown = ", ".join(
        f"{bucket}/{item['Key']} ({item.get('Code', 'unknown')})" for item in failed[:_SHOWN_KEYS]
    )
    more = f" and {len(failed) - _SHOWN_KEYS} more" if len(failed) > _SHOWN_KEYS else ""
    message = f"{len(failed)} not deleted: {shown}{more}"
    return _as_error({"Code": failed[0].get("Code", ""), "Message": message})


def _as_error(item: Mapping[str, Any]) -> ClientError:
    error = {"Code": item.get("Code", ""), "Message": item.get("Message", "")}
    return ClientError({"Error": error}, "DeleteObjects")


def _identity(item: Mapping[str, Any]) -> tuple[str, str | None]:
    return item["Key"], item.get("VersionId")


_RECOVERIES: Mapping[str, type[_WriteRecovery]] = {
    **dict.fromkeys(Idempotent.already_done, Idempotent),
    "create_multipart_upload": MultipartCreation,
    "complete_multipart_upload": MultipartCompletion,
    "put_object": ExclusivePut,
    "delete_objects": Deletion,
}
