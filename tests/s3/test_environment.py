"""Credentials and retries follow the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fsspec_avroglob.errors import OptionError
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.s3.config import S3Config
from fsspec_avroglob.s3.environment import identity
from tests.support.proxy import FaultProxy


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with AWS's files; no other source has credentials."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "MAX_ATTEMPTS"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def write(home: Path, **keys: str) -> None:
    """Write a credentials file with a section for each name."""
    text = "".join(
        f"[{name}]\naws_access_key_id={key}\naws_secret_access_key=s\n"
        for name, key in keys.items()
    )
    (home / "credentials").write_text(text)


def keys_of(proxy: FaultProxy) -> list[str]:
    """The access keys of the requests that arrived."""
    signed = (request.headers.get("authorization", "") for request in proxy.requests)
    return [text.partition("Credential=")[2].partition("/")[0] for text in signed]


@pytest.fixture
def held(home: Path, proxy: FaultProxy) -> AvroGlobFileSystem:
    """An instance without options for credentials, behind the proxy."""
    fs = AvroGlobFileSystem(endpoint_url=proxy.url, skip_instance_cache=True, max_retries=0)
    proxy.fail(status=404, code="NoSuchBucket")
    return fs


def ask(fs: AvroGlobFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.ls("b", refresh=True)


def test_renewed_keys_are_used(held: AvroGlobFileSystem, home: Path, proxy: FaultProxy) -> None:
    write(home, default="OLD")
    ask(held)
    write(home, default="NEWER")
    ask(held)
    ask(held)
    assert keys_of(proxy) == ["OLD", "NEWER", "NEWER"]


def test_another_profile_is_used(
    held: AvroGlobFileSystem, home: Path, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, one="ONE", two="TWO")
    for name in ("one", "two"):
        monkeypatch.setenv("AWS_PROFILE", name)
        ask(held)
    assert keys_of(proxy) == ["ONE", "TWO"]


def test_exported_keys_are_used(
    held: AvroGlobFileSystem, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match="credentials"):
        held.ls("b")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    ask(held)
    assert keys_of(proxy) == ["NEW"]


def test_profile_may_come_later(home: Path, proxy: FaultProxy) -> None:
    fs = AvroGlobFileSystem(endpoint_url=proxy.url, profile="team", skip_instance_cache=True)
    proxy.fail(status=404, code="NoSuchBucket")
    with pytest.raises(Exception, match="team"):
        fs.ls("b")
    write(home, team="TEAM")
    ask(fs)
    assert keys_of(proxy) == ["TEAM"]


def test_missing_credentials_are_searched_again(
    held: AvroGlobFileSystem, home: Path, proxy: FaultProxy
) -> None:
    with pytest.raises(Exception, match="credentials"):
        held.ls("b")
    write(home, default="LATE")
    held._identity = identity()  # as for a source that the identity does not cover
    held.requests.clock = lambda: float("inf")
    ask(held)
    assert keys_of(proxy) == ["LATE"]


def test_session_is_kept_while_nothing_changes(held: AvroGlobFileSystem, home: Path) -> None:
    write(home, default="KEY")
    ask(held)
    session = held.session
    ask(held)
    assert held.session is session


# --- retries --------------------------------------------------------------------------------------


def retries(**options: Any) -> int:
    return S3Config.from_storage_options(options).max_retries


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_attempts": 8}, 8),
        ({"total_max_attempts": 8}, 7),
        ({"max_attempts": "8", "mode": "standard"}, 8),
        ({"total_max_attempts": 3, "max_attempts": 9}, 2),
        ({"mode": "adaptive"}, 2),
        ({"max_attempts": 0}, 0),
    ],
)
def test_botocore_retries_are_honoured(home: Path, given: dict[str, Any], expected: int) -> None:
    assert retries(config_kwargs={"retries": given}) == expected


@pytest.mark.parametrize("own", [{"max_retries": 3}, {"retry": {"max_retries": 3}}])
def test_contradicting_retries_are_refused(home: Path, own: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"config_kwargs.*max_retries=8.*give one of them"):
        retries(config_kwargs={"retries": {"max_attempts": 8}}, **own)
    assert retries(config_kwargs={"retries": {"total_max_attempts": 1}}, **own) == 3
    assert retries(config_kwargs={"retries": {"max_attempts": 3}}, **own) == 3


def test_environment_states_attempts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config").write_text("[default]\nmax_attempts=5\n[profile team]\nmax_attempts=6\n")
    assert retries() == 4
    assert retries(profile="team") == 5
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "8")
    assert retries() == 7
    assert retries(retry={"jitter": 0}) == 7
    assert retries(max_retries=1) == 1
    assert retries(config_kwargs={"retries": {"max_attempts": 3}}) == 3


@pytest.mark.parametrize("value", ["0", "many", "-1", "2.5"])
def test_wrong_attempts_are_named(home: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", value)
    with pytest.raises(OptionError, match="AWS_MAX_ATTEMPTS"):
        retries()


@pytest.mark.parametrize("where", ["nowhere", "option", "variable", "file", "extra", "own"])
def test_user_agent(
    home: Path, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    write(home, default="OLD")
    if where == "variable":
        monkeypatch.setenv("AWS_SDK_UA_APP_ID", "myapp")
    if where == "file":
        (home / "config").write_text("[default]\nsdk_ua_app_id = myapp\n")
    given = {"option": "user_agent_appid", "extra": "user_agent_extra", "own": "user_agent"}
    kwargs = {given[where]: "myapp"} if where in given else {}
    proxy.fail(status=404, code="NoSuchBucket")
    options = {"skip_instance_cache": True, "max_retries": 0, "config_kwargs": kwargs}
    ask(AvroGlobFileSystem(endpoint_url=proxy.url, **options))

    (sent,) = {request.headers["user-agent"] for request in proxy.requests}
    assert ("myapp" in sent) == (where != "nowhere")
    assert sent.startswith("fsspec-avroglob/") == (where in ("nowhere", "extra"))
    assert "botocore" in sent
