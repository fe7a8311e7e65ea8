"""Requests that must not simply be repeated: what became of one whose answer was lost."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Protocol

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
)

from fsspec_avroglob.aio.blocking import STOP_S
from fsspec_avroglob.s3.classification import THROTTLED
from fsspec_avroglob.s3.translation import PRECONDITION_CODES, classify, error_code

_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_SHOWN_KEYS = 20
_CLOCK_STEP_S = 2.0
"""What Last-Modified and Date, both in whole seconds, may differ by for one moment."""

ANSWER_S = STOP_S - 1
"""Seconds that a cancelled CreateMultipartUpload has for its answer, without which nobody knows
which upload to abort; then a second for that."""

_UPLOAD_GONE = ("NoSuchUpload", "NoSuchKey")
"""What servers answer for an upload that was completed or aborted; Ceph's RGW the second."""

_DONE_BEFORE: Mapping[str, tuple[str, ...]] = {
    "abort_multipart_upload": _UPLOAD_GONE,
    "create_bucket": ("BucketAlreadyOwnedByYou",),
    "delete_bucket": ("NoSuchBucket",),
}
"""What S3 answers to a repeated request when the first one, unheard of, was carried out."""


class Send(Protocol):
    """Sends one request: a method of the S3 client, mappings to choose arguments from, arguments.

    Raises what botocore raises.
    """

    def __call__(self, method: str, *choices: Mapping[str, Any], **arguments: Any) -> Any:
        """Return an awaitable of the answer."""


def repeatable(
    send: Send,
    look_up: Send,
    method: str,
    choices: Sequence[Mapping[str, Any]],
    arguments: Mapping[str, Any],
) -> Callable[[], Awaitable[Any]]:
    """One attempt at a request, which may be awaited again after it failed.

    look_up: sends the further requests that tell what became of a lost one, within the attempt.

    Most requests may be repeated as they are. CompleteMultipartUpload and a PutObject that must not
    overwrite (``IfNoneMatch="*"``) look for what a lost answer has left undecided; DeleteObjects
    asks again only for the keys that failed for transient reasons; creating or removing what an
    earlier attempt has created or removed is a success. A CreateMultipartUpload that is cancelled
    takes back what it has created.
    """
    request = partial(send, method, *choices)
    if method == "create_multipart_upload":
        return Beginning(send, look_up, choices, arguments).attempt
    if method == "complete_multipart_upload":
        return Completion(send, look_up, choices, arguments).attempt
    if method == "put_object" and arguments.get("IfNoneMatch") == "*":
        return Creation(send, look_up, choices, arguments).attempt
    if method == "delete_objects":
        return Deletion(request, arguments).attempt
    if method in _DONE_BEFORE:
        return _Once(partial(request, **arguments), _DONE_BEFORE[method]).attempt
    return partial(request, **arguments)


def answer_lost(error: Exception) -> bool:
    """Whether the request may have been carried out although it failed with *error*."""
    return classify(error) not in (None, THROTTLED) and not isinstance(error, _NOT_SENT)


@dataclass
class _Once:
    request: Callable[[], Awaitable[Any]]
    done_before: tuple[str, ...]
    lost: bool = False

    async def attempt(self) -> Any:
        try:
            return await self.request()
        except Exception as error:
            if self.lost and error_code(error) in self.done_before:
                return {}
            self.lost = self.lost or answer_lost(error)
            raise


@dataclass
class _Making:
    """A request that makes something of a key; fields as of :func:`repeatable`."""

    send: Send
    look_up: Send
    choices: Sequence[Mapping[str, Any]]
    arguments: Mapping[str, Any]

    @property
    def _target(self) -> dict[str, Any]:
        return {name: self.arguments[name] for name in ("Bucket", "Key")}


class Beginning(_Making):
    """CreateMultipartUpload: only its answer tells how to take back what it has begun."""

    async def attempt(self) -> Any:
        """Send the request; when cancelled, await its answer for a while and abort the upload."""
        request = asyncio.ensure_future(
            self.send("create_multipart_upload", *self.choices, **self.arguments)
        )
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
        where = self._target
        try:
            await self.look_up("abort_multipart_upload", *self.choices, **where, UploadId=upload)
        except Exception as left:
            cancelled.add_note(f"upload {upload} of {'/'.join(where.values())} is left: {left}")


@dataclass
class _Conclusion(_Making):
    """A request that makes an object; after a lost answer the server is asked for the object."""

    lost: bool = False
    began: float = field(default_factory=time.monotonic)

    method = ""
    decided_by: tuple[str, ...] = PRECONDITION_CODES

    async def attempt(self) -> Any:
        """Send the request. Returns its answer, or one made from the object that it has made."""
        try:
            return await self.send(self.method, *self.choices, **self.arguments)
        except Exception as error:
            if answer_lost(error):
                self.lost = True
            elif not (self.lost and error_code(error) in self.decided_by):
                raise
            try:
                made = await self._made()
            except Exception as unknown:
                error.add_note(f"what became of {self.method} could not be found out: {unknown}")
                made = None
            if made is None:
                raise
            return made

    async def _made(self) -> dict[str, Any] | None:
        raise NotImplementedError

    async def _object(self) -> Mapping[str, Any] | None:
        """What HEAD says of the object; None where there is none."""
        try:
            head: Mapping[str, Any] = await self.look_up(
                "head_object", *self.choices, **self._target
            )
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchKey"):
                return None
            raise
        return head

    def _answer(self, head: Mapping[str, Any]) -> dict[str, Any]:
        kept = ("ETag", "VersionId", "ServerSideEncryption", "ResponseMetadata")
        return {**self._target, **{name: head[name] for name in kept if name in head}}


class Completion(_Conclusion):
    """CompleteMultipartUpload: it has happened if the upload is gone and its object is there."""

    method = "complete_multipart_upload"
    decided_by = (*_UPLOAD_GONE, *PRECONDITION_CODES)

    async def _made(self) -> dict[str, Any] | None:
        upload = self.arguments["UploadId"]
        try:
            await self.look_up("list_parts", **self._target, UploadId=upload, MaxParts=1)
        except ClientError as error:
            if error_code(error) not in _UPLOAD_GONE:
                raise
        else:
            return None
        head = await self._object()
        if head is None:
            return None
        parts = [part["ETag"] for part in self.arguments["MultipartUpload"]["Parts"]]
        etag = head["ETag"].strip('"')
        if _is_hashed(head):
            ours = etag == multipart_etag(parts)
        else:
            ours = etag.endswith(f"-{len(parts)}")
        return self._answer(head) if ours else None


class Creation(_Conclusion):
    """PutObject that must not overwrite: an object may be there because an attempt has made it.

    It is taken for ours when it has our size and content and is no older than the first attempt.
    """

    method = "put_object"

    async def _made(self) -> dict[str, Any] | None:
        head = await self._object()
        body = self.arguments.get("Body", b"")
        if head is None or not isinstance(body, bytes | bytearray | memoryview):
            return None
        ours = head["ContentLength"] == memoryview(body).nbytes and self._is_young(head)
        if ours and _is_hashed(head):
            digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
            ours = head["ETag"].strip('"') == digest
        return self._answer(head) if ours else None

    def _is_young(self, head: Mapping[str, Any]) -> bool:
        """Whether the object was made after the first attempt began, by the server's own clock."""
        now = head.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if now is None:
            return True
        age = (parsedate_to_datetime(now) - head["LastModified"]).total_seconds()
        return bool(age <= time.monotonic() - self.began + _CLOCK_STEP_S)


def multipart_etag(parts: Sequence[str]) -> str | None:
    """The ETag of an object made of parts with these ETags; None if they are no MD5 sums."""
    digests = [_MD5.fullmatch(part) for part in parts]
    if not all(digests):
        return None
    joined = b"".join(bytes.fromhex(digest[1]) for digest in digests if digest)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _is_hashed(head: Mapping[str, Any]) -> bool:
    """Whether the ETag follows from the content: not with keys of KMS or the customer's own."""
    encryption = head.get("ServerSideEncryption")
    return encryption in (None, "AES256") and "SSECustomerAlgorithm" not in head


class Deletion:
    """DeleteObjects: a 200 may list keys that failed; those that may succeed later are left."""

    def __init__(self, request: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self._request, self._arguments = request, arguments
        self._left = list(arguments["Delete"]["Objects"])
        self._deleted: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []

    async def attempt(self) -> dict[str, Any]:
        """Ask for the keys that are left. Raises ClientError for keys that may succeed later.

        Returns the answer with ``Deleted`` and ``Errors`` (final ones) of all attempts.
        """
        delete = {**self._arguments["Delete"], "Objects": self._left}
        answer = await self._request(**{**self._arguments, "Delete": delete})
        self._deleted += answer.get("Deleted", ())
        failed = answer.get("Errors", ())
        transient = [item for item in failed if classify(_as_error(item)) is not None]
        self._refused += [item for item in failed if item not in transient]
        again = {_identity(item) for item in transient}
        self._left = [item for item in self._left if _identity(item) in again]
        if transient:
            raise deletion_error(self._arguments["Bucket"], [*transient, *self._refused])
        return {**answer, "Deleted": self._deleted, "Errors": self._refused}


def deletion_error(bucket: str, failed: Sequence[Mapping[str, Any]]) -> ClientError:
    """What *failed*, entries of DeleteObjects' ``Errors``, is as an error that names the keys."""
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
