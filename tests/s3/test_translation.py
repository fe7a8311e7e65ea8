"""Errors say what to do, and never hold a secret."""

from __future__ import annotations

import logging
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator

import botocore.exceptions as boto
import pytest
import s3fs
from botocore.credentials import Credentials

from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.classification import UnexpectedAnswerError
from fsspec_avroglob.s3.config import S3Config
from fsspec_avroglob.s3.retry import RetryEvent
from fsspec_avroglob.s3.translation import advice, complete, rule_of, translated_error
from tests.conftest import MakeFs, PutObjects
from tests.support.calls import READS, WRITES, Operation
from tests.support.errors import URL_TEXT, client_error
from tests.support.proxy import FaultProxy
from tests.support.servers import LOOPBACK
from tests.support.session import SESSION

CONFIG = S3Config(endpoint_url="http://here:9000")
REFUSED = client_error("InvalidAccessKeyId", 403)


def unreachable(error: Exception) -> boto.EndpointConnectionError:
    return boto.EndpointConnectionError(endpoint_url=URL_TEXT, error=error)


def advised(error: Exception, target: str, config: S3Config) -> str | None:
    return advice(error, rule_of(error), target, config)


@pytest.mark.parametrize(
    ("error", "config", "words"),
    [
        (REFUSED, S3Config(key="k", secret="s"), "the options key and secret;"),
        (REFUSED, S3Config(key="k", secret="s", token="t"), "the options key, secret and token;"),
        (REFUSED, S3Config(anon=True), "anon=True"),
        (REFUSED, S3Config(profile="work"), "the profile 'work'"),
        (REFUSED, S3Config(), "AWS_ACCESS_KEY_ID"),
        (client_error("", 403), S3Config(), "fsspec's configuration"),
        (boto.NoCredentialsError(), S3Config(), "no key was given"),
        (client_error("ExpiredToken", 400), S3Config(), "have expired: renew them"),
        (client_error("RequestTimeTooSkewed", 403), CONFIG, "the clock of this machine is wrong"),
        (client_error("NoSuchBucket", 404), CONFIG, "no bucket 'b' at http://here:9000"),
        (client_error("PermanentRedirect", 301), CONFIG, "give the option region"),
        (
            client_error("301", 301, {"x-amz-bucket-region": "eu-west-1"}),
            CONFIG,
            "give region='eu-west-1'",
        ),
        (unreachable(OSError()), CONFIG, "nothing answers at http://here:9000"),
        (unreachable(socket.gaierror()), CONFIG, "DNS does not know the name of http://here:9000"),
        (ssl.SSLCertVerificationError("x"), CONFIG, "client_kwargs={'verify': 'ca.pem'}"),
        (boto.SSLError(endpoint_url=URL_TEXT, error="x"), CONFIG, "http, not https?"),
        (UnexpectedAnswerError("x"), CONFIG, "does a proxy or a login page answer"),
        (ValueError("Invalid endpoint: here:9000"), CONFIG, "a URL such as http://"),
        (client_error("SlowDown", 503), CONFIG, "max_retries (now 2)"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_advice_says_what_to_do(error: Exception, config: S3Config, words: str) -> None:
    assert words in (advised(error, "b/k", config) or "")


@pytest.mark.parametrize("error", [client_error("NoSuchKey", 404), TimeoutError(), KeyError("x")])
def test_unknown_error_gets_no_advice(error: Exception) -> None:
    assert advised(error, "b/k", CONFIG) is None


def test_bare_404_of_bucket_gets_advice() -> None:
    assert "no bucket 'b'" in (advised(client_error("404", 404), "b", CONFIG) or "")
    assert advised(client_error("404", 404), "b/k", CONFIG) is None


@pytest.mark.parametrize(
    ("status", "kind"), [(403, PermissionError), (404, FileNotFoundError), (503, OSError)]
)
def test_status_translates_an_error_page(status: int, kind: type[Exception]) -> None:
    error = translated_error(client_error("", status))

    assert type(error) is kind
    assert isinstance(error.__cause__, boto.ClientError)


@pytest.mark.parametrize("message", [None, ""])
def test_error_without_message_has_code(message: str | None) -> None:
    error = client_error("AccessDenied", 403)
    error.response["Error"]["Message"] = message

    complete(error, "ListObjectsV2 b/p/")

    assert str(translated_error(error)) == "AccessDenied (ListObjectsV2 b/p/)"
    assert "None" not in str(error)


def test_known_source_of_keys_is_named() -> None:
    found = Credentials("k", "s", method="shared-credentials-file")
    said = advice(REFUSED, rule_of(REFUSED), "b/k", S3Config(), found) or ""
    assert said.startswith("the credentials come from AWS's credentials file;")


def test_unparsable_answer_is_an_oserror() -> None:
    assert isinstance(translated_error(UnexpectedAnswerError("x")), OSError)


# --- on the way from the server -------------------------------------------------------------------


def notes_of(error: BaseException) -> str:
    return "\n".join(error.__notes__)


def test_upper_case_scheme_gets_advice(make_fs: MakeFs) -> None:
    with pytest.raises(boto.ParamValidationError) as error:
        make_fs().cat("S3://bucket/key")
    assert "write s3://" in notes_of(error.value)


def test_advice_comes_with_error(proxy: FaultProxy, make_fs: MakeFs, bucket: str) -> None:
    fs = make_fs(proxy.storage_options)
    proxy.fail("GetObject", 403, "InvalidAccessKeyId")

    with pytest.raises(PermissionError) as caught:
        fs.cat_file(f"{bucket}/key")

    told, hint = caught.value.__notes__
    assert told.startswith(f"GetObject {bucket}/key: failed after 1 attempt in ")
    assert "options key and secret" in hint


def test_unreachable_server_gets_advice(make_fs: MakeFs) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))  # and never listens
        url = f"http://{LOOPBACK}:{taken.getsockname()[1]}"
        fs = make_fs(endpoint_url=url, max_retries=0, retry=None)

        with pytest.raises(boto.EndpointConnectionError) as caught:
            fs.info("b/k")

    assert f"nothing answers at {url}" in notes_of(caught.value)


def test_server_without_tls_fails(proxy: FaultProxy, make_fs: MakeFs) -> None:
    fs = make_fs(
        endpoint_url=proxy.url.replace("http:", "https:"),
        max_retries=0,
        retry=None,
        config_kwargs={"connect_timeout": 0.5},  # the proxy waits for more of the handshake
    )

    with pytest.raises(boto.BotoCoreError) as caught:
        fs.info("b/k")

    assert "failed after 1 attempt" in notes_of(caught.value)


class TriesOnce(s3fs.S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """s3fs as it is, but for its retries."""

    retries = 1


ERRORS = [
    (403, "AccessDenied"),
    (403, "SignatureDoesNotMatch"),
    (403, "InvalidAccessKeyId"),
    (404, "NoSuchKey"),
    (404, "NoSuchBucket"),
    (405, "MethodNotAllowed"),
    (409, "OperationAborted"),
    (412, "PreconditionFailed"),
    (416, "InvalidRange"),
    (418, "Unheard"),
    (500, "InternalError"),
    (501, "NotImplemented"),
    (503, "SlowDown"),
    (503, "ServiceUnavailable"),
]


def shape(error: BaseException) -> tuple[object, ...]:
    return type(error), error.args, getattr(error, "errno", None)


@pytest.mark.parametrize(
    ("operation", "run"),
    [READS["info"], READS["cat_file range"], READS["ls"], WRITES["touch"], WRITES["rm_file"]],
)
def test_errors_equal_s3fs(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, operation: str, run: Operation
) -> None:
    stock = TriesOnce(
        **proxy.storage_options
        | {
            "session": SESSION,
            "config_kwargs": {"retries": {"total_max_attempts": 1}},
            "skip_instance_cache": True,
        }
    )
    for status, code in ERRORS:
        proxy.clear()
        proxy.fail(operation, status, code)
        if operation == "HeadObject":
            proxy.fail("ListObjectsV2", status, code)
        with pytest.raises(Exception, match=r".") as expected:
            run(stock, path)

        with pytest.raises(Exception, match=r".") as caught:
            run(counted, path)

        assert shape(caught.value) == shape(expected.value)


@pytest.mark.parametrize(
    ("operation", "run"), [READS["info"], READS["cat_file"], WRITES["touch"], WRITES["rm_file"]]
)
def test_note_names_object(
    counted: AvroGlobFileSystem, proxy: FaultProxy, path: str, operation: str, run: Operation
) -> None:
    proxy.fail(None, 403, "AccessDenied")

    with pytest.raises(PermissionError) as caught:
        run(counted, path)

    assert caught.value.__notes__[0].startswith(f"{operation} {path}: failed after 1 attempt in ")


def test_environment_endpoint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = client_error("NoSuchBucket", 404)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://there:9000")
    assert "at http://there:9000" in (advised(error, "b", S3Config()) or "")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert "at AWS" in (advised(error, "b", S3Config()) or "")


# --- secrets --------------------------------------------------------------------------------------

SECRETS = {
    "key": "AKIANOWHERE",
    "secret": "s3cr3t-of-nowhere",
    "token": "t0ken-of-nowhere",
}
ECHO = (
    b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code>"
    b"<Message>s3cr3t-of-nowhere did not sign http://x/?X-Amz-Signature=abc123nowhere</Message>"
    b"<AWSAccessKeyId>AKIANOWHERE</AWSAccessKeyId><StringToSign>nowhere</StringToSign>"
    b"<SignatureProvided>nowhere</SignatureProvided></Error>"
)
LEAKS: dict[str, Callable[[FaultProxy], None]] = {
    "throttled": lambda proxy: proxy.fail(status=503),
    "echoed": lambda proxy: proxy.fail(status=403, body=ECHO),
    "expired": lambda proxy: proxy.fail(status=400, code="ExpiredToken"),
    "dropped": lambda proxy: proxy.drop(),
    "a page": lambda proxy: proxy.fail(status=200, body=b"<html>s3cr3t-of-nowhere</html>"),
}
OPERATIONS: dict[str, Callable[[AvroGlobFileSystem, str], object]] = {
    "info": lambda fs, bucket: fs.info(f"{bucket}/k"),
    "cat": lambda fs, bucket: fs.cat_file(f"{bucket}/k"),
    "glob": lambda fs, bucket: fs.glob(f"{bucket}/*/k"),
    "pipe": lambda fs, bucket: fs.pipe_file(f"{bucket}/k", b"x"),
}


def texts(error: BaseException) -> Iterator[str]:
    """Everything that an error and what led to it say or carry."""
    yield "".join(traceback.format_exception(error))
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield from (repr(one), str(one), repr(vars(one)))
        left += [one.__cause__, one.__context__]


@pytest.mark.parametrize("leak", LEAKS.values(), ids=list(LEAKS))
@pytest.mark.parametrize("signature", ["s3v4", "s3v4-query"])
def test_no_secret_shows_in_any_text(
    proxy: FaultProxy,
    make_fs: MakeFs,
    bucket: str,
    caplog: pytest.LogCaptureFixture,
    leak: Callable[[FaultProxy], None],
    signature: str,
) -> None:
    events: list[RetryEvent] = []
    fs = make_fs(
        proxy.storage_options,
        **SECRETS,
        on_retry=events.append,
        config_kwargs={"signature_version": signature},
    )
    leak(proxy)
    caplog.set_level(logging.DEBUG, "fsspec_avroglob")
    said = [repr(fs), str(fs), repr(fs.config), repr(fs.stats)]

    for run in OPERATIONS.values():
        try:
            run(fs, bucket)
        except Exception as error:
            said += texts(error)
    assert len(said) > 8
    said += [caplog.text, *map(repr, events), *map(str, events)]

    assert [text for text in said if "nowhere" in text.lower()] == []


@pytest.mark.parametrize("variable", ["AWS_SESSION_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_secret_of_environment_is_removed(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv(variable, "nowhere/to+be=seen")
    fs = AvroGlobFileSystem(endpoint_url=proxy.url, skip_instance_cache=True)
    echo = b"<Error><Code>AccessDenied</Code><Message>nowhere/to+be=seen</Message></Error>"
    proxy.fail(status=403, body=echo)

    with pytest.raises(PermissionError) as caught:
        fs.ls("b")

    assert [text for text in texts(caught.value) if "nowhere" in text] == []


def test_short_keys_change_no_error(proxy: FaultProxy, make_fs: MakeFs) -> None:
    fs = make_fs(proxy.storage_options, key="A", secret="s", token="e")
    proxy.fail(status=403, code="AccessDenied")

    with pytest.raises(PermissionError) as caught:
        fs.ls("assets/see")

    assert str(caught.value) == "Injected AccessDenied"
    assert "***" not in notes_of(caught.value)


def test_json_without_password(make_fs: MakeFs) -> None:
    fs = make_fs(
        **SECRETS,
        endpoint_url="http://me:nowhere@host",
        s3_additional_kwargs={"SSECustomerKey": "nowhere", "ACL": "private"},
    )

    written = fs.to_dict(include_password=False)

    assert {name for name, value in written.items() if "nowhere" in str(value).lower()} == {"key"}
    assert written["s3_additional_kwargs"] == {"ACL": "private"}


def test_repr_shows_no_user_info() -> None:
    assert "http://***@host'" in repr(S3Config(endpoint_url="http://me:pw@host"))


def test_json_equals_fsspec(make_fs: MakeFs, put: PutObjects) -> None:
    fs = make_fs(**SECRETS)

    written = fs.to_dict()

    assert {name for name, value in written.items() if "nowhere" in str(value).lower()} == {
        "key",
        "secret",
        "token",
    }
