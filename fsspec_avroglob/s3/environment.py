"""What the environment says: whose credentials to use, how often to try, and who sends requests.

Botocore reads the environment and AWS's files when a session begins. This module tells when they
have changed since then.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import version
from typing import NamedTuple, TypeAlias

from botocore.configloader import load_config
from botocore.exceptions import BotoCoreError

from fsspec_avroglob.errors import OptionError

_IDENTITY_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
# Variable with the name of a file of AWS's, and the file without it.
_FILES = (
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ("AWS_CONFIG_FILE", "~/.aws/config"),
)
_ATTEMPTS = "AWS_MAX_ATTEMPTS"
_APPLICATION = "AWS_SDK_UA_APP_ID"


class _FileState(NamedTuple):
    """A file as it was; another content has another state."""

    path: str
    inode: int = 0
    size: int = 0
    modified_ns: int = 0


Identity: TypeAlias = tuple[tuple[str | None, ...], tuple[_FileState, ...]]
"""All that decides which credentials botocore finds, other than the machine's role."""


def identity() -> Identity:
    """What the credentials depend on now. Takes a few microseconds."""
    variables = tuple(map(os.environ.get, _IDENTITY_VARIABLES))
    return variables, tuple(_state(_path(*file)) for file in _FILES)


def environment_attempts(profile: str | None) -> int | None:
    """Attempts at a request by ``AWS_MAX_ATTEMPTS`` or ``max_attempts`` of AWS's config file.

    Raises OptionError for a value that is not a whole number of at least 1.
    """
    source, value = _ATTEMPTS, os.environ.get(_ATTEMPTS)
    if value is None:
        source = f"max_attempts of {_path(*_FILES[1])}"
        value = _in_config_file(profile, "max_attempts")
    if value is None:
        return None
    if not value.strip().isdecimal() or int(value) < 1:
        raise OptionError(f"{source}={value!r} is not a whole number of at least 1")
    return int(value)


def states_application(profile: str | None) -> bool:
    """Whether ``AWS_SDK_UA_APP_ID`` or ``sdk_ua_app_id`` names an application for User-Agent."""
    return bool(os.environ.get(_APPLICATION) or _in_config_file(profile, "sdk_ua_app_id"))


@cache
def user_agent() -> str:
    """Return the header User-Agent of requests.

    Botocore composes its own header twice for each request, a tenth of a small request's CPU time.
    """
    names = ("fsspec-avroglob", "aiobotocore")
    packages = " ".join(f"{name}/{version(name)}" for name in names)
    return f"{packages} Python/{platform.python_version()} {platform.system()}/{platform.release()}"


def _in_config_file(profile: str | None, name: str) -> str | None:
    path = _path(*_FILES[1])
    if not os.path.exists(path):
        return None
    chosen = profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    try:
        settings = load_config(path)["profiles"].get(chosen or "default", {})
    except BotoCoreError:
        return None  # botocore reports it when it looks for credentials
    value: str | None = settings.get(name)
    return value


def _path(variable: str, default: str) -> str:
    return os.path.expanduser(os.environ.get(variable) or default)


def _state(path: str) -> _FileState:
    try:
        found = os.stat(path)
    except OSError:
        return _FileState(path)
    return _FileState(path, found.st_ino, found.st_size, found.st_mtime_ns)
