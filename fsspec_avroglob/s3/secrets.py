"""Remove secrets from texts and errors, where secrets can stand.

Secrets stand in authorization headers, in signed query strings, in the user info of URLs, and in
printed options. Text elsewhere is not changed, so that a bucket ``test-data`` keeps its name with
the key ``test``. Only a configured secret of at least 16 characters is removed anywhere.

>>> redacted("GET http://me:pw@host/key?X-Amz-Signature=1f2e&X-Amz-Date=2024")
'GET http://***@host/key?X-Amz-Signature=***&X-Amz-Date=2024'
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import botocore.exceptions as boto
from s3fs.errors import ERROR_CODE_TO_EXCEPTION

MIN_LENGTH = 16
"""A secret of fewer characters may be a word, so it is removed only where secrets can stand."""

SECRET_OPTIONS = frozenset(
    {
        "secret",
        "token",
        "password",
        "secret_access_key",
        "session_token",
        "aws_secret_access_key",
        "aws_session_token",
        "aws_token",
        "SSECustomerKey",
        "CopySourceSSECustomerKey",
    }
)
"""Names of options whose values are secrets."""

_VALUE = r"[^\s&,;'\"<>)\]}]+"
_PLACES = (
    # A signed query string, or a header with its value.
    rf"(?i)(X-Amz-(?:Signature|Credential|Security-Token|S3session-Token)|AWSAccessKeyId"
    r"|X-Amz-(?:Copy-Source-)?Server-Side-Encryption-Customer-Key)"
    rf"(['\"]?\s*(?:[:=,]|%3D)\s*b?['\"]?){_VALUE}",
    rf"(?i)([?&;]|%26)(Signature(?:=|%3D)){_VALUE}",
    # The value of an authorization header. With AWS's signature it has three fields.
    rf"(?i)(AWS4-[A-Z0-9-]+\s+)(Credential=){_VALUE}",
    rf"(AWS4-\S+\s+Credential=\S+\s*SignedHeaders=\S+\s*)(Signature=){_VALUE}",
    rf"(?i)(authorization['\"]?\s*[:=,]\s*b?['\"]?)((?:Basic|Bearer|AWS)\s+){_VALUE}",
    # The user info of a URL.
    r"(?i)\b((?:https?|socks\w*):/)(/)[^/\s'\"<>]+(?=@)",
    # An option as Python or JSON prints it.
    rf"(?i)\b({'|'.join(sorted(SECRET_OPTIONS))})(['\"]?\s*[:=]\s*b?(?=['\"]))"
    r"(?:'[^']*'|\"[^\"]*\")",
)
_PATTERNS = tuple(map(re.compile, _PLACES))

# Fields of an error answer about the signature.
_SECRET_FIELDS = re.compile(r"StringToSign|CanonicalRequest|Signature|AccessKeyId|Token")
_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* without what stands where secrets can stand, and without *secrets*."""
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1\2***", text)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def removable(*secrets: str | None, credentials: Any = None) -> tuple[str, ...]:
    """The secrets that may be removed anywhere, also as they stand in URLs; the longest first.

    Parameters
    ----------
    *secrets
        Options, None if not given.
    credentials
        Botocore's credentials, or None. Secrets of the environment are always included.
    """
    held = getattr(credentials, "__dict__", {})
    found = [*secrets, *map(os.environ.get, _VARIABLES)]
    found += [held.get(name) for name in ("secret_key", "token", "_secret_key", "_token")]
    long = {text for text in found if isinstance(text, str) and len(text) >= MIN_LENGTH}
    forms = long | {quote(text, safe=safe) for text in long for safe in ("", "/")}
    return tuple(sorted(forms, key=len, reverse=True))


def redact(error: BaseException, secrets: Iterable[str] = ()) -> None:
    """Remove secrets from *error*, its notes, its causes, and the errors that these hold."""
    for one in chain(error):
        if isinstance(one, boto.HTTPClientError):
            one.request = one.response = None  # their headers hold the signature
        if isinstance(one, boto.ClientError) and "Error" in one.response:
            one.response["Error"] = {
                name: value
                for name, value in one.response["Error"].items()
                if not _SECRET_FIELDS.search(name)
            }
        one.args = tuple(_clean(value, secrets) for value in one.args)
        names = [*vars(one), *(("strerror", "filename") if isinstance(one, OSError) else ())]
        for name in names:
            value = getattr(one, name, None)
            cleaned = _clean(value, secrets)
            if cleaned is not value:
                with suppress(AttributeError):  # a property without a setter
                    setattr(one, name, cleaned)


def chain(error: BaseException) -> Iterator[BaseException]:
    """*error*, its causes and contexts, and the errors in their arguments; each once."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            left += [one.__cause__, one.__context__, *one.args]
            left += getattr(one, "kwargs", {}).values()


def _is_code(name: str, value: object) -> bool:
    """Whether a field of an error answer is a known code, which decides the error's type."""
    return name == "Code" and isinstance(value, str) and value in ERROR_CODE_TO_EXCEPTION


def _clean(value: Any, secrets: Iterable[str]) -> Any:
    """*value* without secrets: the same object if it has none.

    Objects other than texts and containers that show a secret become text.
    """
    if value is None or isinstance(value, int | float | BaseException):
        return value
    if isinstance(value, str):
        cleaned = redacted(value, secrets)
        return value if cleaned == value else cleaned
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        cleaned = redacted(text, secrets)
        return value if cleaned == text else cleaned.encode("latin-1")
    if isinstance(value, dict):
        items = {
            name: item if _is_code(name, item) else _clean(item, secrets)
            for name, item in value.items()
        }
        return items if any(items[name] is not value[name] for name in items) else value
    if isinstance(value, list | tuple):
        parts = [_clean(item, secrets) for item in value]
        if all(one is other for one, other in zip(parts, value, strict=True)):
            return value
        make = getattr(type(value), "_make", type(value))  # of a NamedTuple
        return make(parts)
    shown = repr(value)
    cleaned = redacted(shown, secrets)
    return value if cleaned == shown else cleaned
