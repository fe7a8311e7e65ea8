"""Secrets are removed where they can stand, and nothing else is changed."""

from __future__ import annotations

import errno
import pickle

import botocore.exceptions as boto
import pytest

from fsspec_avroglob.s3.secrets import redact, redacted, removable

LONG = "nowhere/to+be=seen"


@pytest.mark.parametrize(
    "text",
    [
        "http://h/k?X-Amz-Signature=SEEN&X-Amz-Date=1",
        "http://h/k?a=1&X-Amz-Credential=SEEN%2F2024",
        "X-Amz-Security-Token: SEEN",
        "<CIMultiDictProxy('X-Amz-Security-Token': 'SEEN')>",
        "((b'x-amz-security-token', b'SEEN'),)",
        "http://h/k?AWSAccessKeyId=SEEN&Signature=SEEN&Expires=1",
        "http://h/k?Expires=1&amp;Signature=SEEN",
        "authorization=AWS4-HMAC-SHA256 Credential=SEEN/x, SignedHeaders=a;b, Signature=SEEN",
        "Authorization: AWS4-HMAC-SHA256 Credential=SEEN/x,SignedHeaders=a;b,Signature=SEEN",
        "{'Authorization': 'AWS k:SEEN'}",
        "Proxy-Authorization: Basic SEEN==",
        "http://me:SEEN@host:9000/k",
        "https://me:SE@SEEN@host",
        "secret='SEEN'",
        '{"aws_secret_access_key": "SEEN"}',
        "x-amz-server-side-encryption-customer-key: SEEN",
    ],
)
def test_place_of_a_secret_is_blank(text: str) -> None:
    assert "SEEN" not in redacted(text)
    assert "***" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "ListObjectsV2 test-data/latest/",
        "lake/signature=abc/credential=x/token=y/part-0.avro",
        "the option token is missing: give key, secret and token",
        "http://host/bucket/me@here.avro",
        "AuthorizationHeaderMalformed: the region 'us-east-1' is wrong",
        "SignatureDoesNotMatch",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redacted(text, removable("test", "s")) == text


@pytest.mark.parametrize("form", [LONG, "nowhere%2Fto%2Bbe%3Dseen", "nowhere/to%2Bbe%3Dseen"])
def test_long_secret_is_removed_anywhere(form: str) -> None:
    assert redacted(f"({form})", removable(LONG)) == "(***)"


def test_error_holds_no_secret() -> None:
    error = boto.ConnectionClosedError(
        endpoint_url="http://me:nowhere@host/k?X-Amz-Signature=nowhere&X-Amz-Date=1",
        error=ValueError(f"token {LONG}"),
        request=object(),
    )
    error.add_note("http://me:nowhere@host")

    redact(error, removable(LONG))

    said = [str(error), repr(error), repr(vars(error)), str(error.kwargs["error"])]
    assert "nowhere" not in "".join([*said, str(pickle.loads(pickle.dumps(error)))])
    assert "X-Amz-Signature=***&X-Amz-Date=1" in str(error)


def test_text_of_an_oserror_is_cleaned() -> None:
    error = OSError(errno.EIO, f"token {LONG}", f"/{LONG}")

    redact(error, removable(LONG))

    assert str(error) == "[Errno 5] token ***: '/***'"


def test_known_code_is_no_secret() -> None:
    code = "SignatureDoesNotMatch"
    error = boto.ClientError({"Error": {"Code": code, "Message": code}}, "GetObject")

    redact(error, removable(code))

    assert error.response["Error"] == {"Code": code, "Message": "***"}
