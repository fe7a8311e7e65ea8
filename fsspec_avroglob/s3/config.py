"""Storage options: from the names and forms that users know to those of s3fs.

Examples
--------
>>> S3Config.from_storage_options({"AWS_REGION": "eu-west-1", "anon": "true"}).region
'eu-west-1'
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import aiobotocore.session
import s3fs
from fsspec.config import apply_config, conf

from fsspec_avroglob.errors import OptionError
from fsspec_avroglob.s3.environment import environment_attempts, states_application, user_agent
from fsspec_avroglob.s3.retry import RetryEvent, RetryPolicy, number
from fsspec_avroglob.s3.secrets import SECRET_OPTIONS, redacted
from fsspec_avroglob.s3.transport import S3Session

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})

ALIASES: Mapping[str, tuple[str, ...]] = {
    "endpoint_url": ("endpoint", "aws_endpoint", "aws_endpoint_url", "aws_endpoint_url_s3"),
    "key": ("username", "access_key_id", "aws_access_key_id"),
    "secret": ("password", "secret_access_key", "aws_secret_access_key"),
    "token": ("session_token", "aws_session_token", "aws_token"),
    "region": ("region_name", "aws_region", "default_region", "aws_default_region"),
    "anon": ("skip_signature", "aws_skip_signature", "no_sign_request"),
    "profile": ("aws_profile", "profile_name"),
    "requester_pays": ("request_payer", "aws_request_payer"),
    "virtual_hosted_style_request": ("aws_virtual_hosted_style_request",),
    "allow_http": ("aws_allow_http",),
}
"""Canonical name of an option -> its other names. Names are compared in lower case."""

FSSPEC_OPTIONS = frozenset(
    {"use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache"}
)
"""Options of every filesystem of fsspec."""

_log = logging.getLogger("fsspec_avroglob")

_CANONICAL = {alias: name for name, aliases in ALIASES.items() for alias in aliases}

# Options that client_kwargs may hold, too, with their names there.
_IN_CLIENT_KWARGS = {
    "endpoint_url": "endpoint_url",
    "key": "aws_access_key_id",
    "secret": "aws_secret_access_key",
    "token": "aws_session_token",
    "region": "region_name",
}
_S3FS = inspect.signature(s3fs.S3FileSystem.__init__).parameters
_BOOLEANS = frozenset(name for name, given in _S3FS.items() if isinstance(given.default, bool)) | {
    "use_listings_cache",
    "virtual_hosted_style_request",
    "allow_http",
}
_MAPPINGS = ("client_kwargs", "config_kwargs", "s3_additional_kwargs")
_OWN = ("anon", "profile", "listing_concurrency", "batch_size", "header_lines")
_INTEGERS = ("max_concurrency", "default_block_size", "max_paths", "batch_size")


@dataclass(frozen=True)
class S3Config:
    """How to reach S3. Make it with :meth:`from_storage_options`.

    The repr never shows credentials.

    Attributes
    ----------
    endpoint_url : str or None
        URL of the server; None for AWS.
    key, secret, token : str or None
        Credentials; None leaves them to botocore (environment, files, instance).
    region, profile : str or None
        Name of the region, and section of AWS's configuration files.
    anon : bool
        Whether to send unsigned requests.
    retry : RetryPolicy
        Policy of every request.
    listing_concurrency, batch_size : int
        Most LIST requests in flight for one listing; most objects at once in bulk operations.
    header_lines : int or None
        Header lines of each file of a joined glob of tables; None to find out.
    on_retry : tuple of callable
        Hooks that receive a ``RetryEvent`` before each wait. The option is a callable, its name
        (``"package.module:function"``), or a list of these.
    others : mapping
        All other options, with the names of s3fs.
    """

    endpoint_url: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    region: str | None = None
    anon: bool = False
    profile: str | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    listing_concurrency: int = 64
    batch_size: int | None = None
    header_lines: int | None = None
    on_retry: tuple[Callable[[RetryEvent], object], ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        shown = ((one.name, getattr(self, one.name)) for one in fields(self) if one.repr)
        return redacted(f"S3Config({', '.join(f'{name}={value!r}' for name, value in shown)})")

    def __post_init__(self) -> None:
        concurrency = number("listing_concurrency", self.listing_concurrency, int, at_least=1)
        object.__setattr__(self, "listing_concurrency", concurrency)
        if self.header_lines is not None:
            lines = number("header_lines", self.header_lines, int, at_least=0)
            object.__setattr__(self, "header_lines", lines)

    @property
    def max_retries(self) -> int:
        """Retries after the first attempt of an operation (default 2)."""
        return self.retry.max_retries

    @property
    def max_pool_connections(self) -> int:
        """Most connections, and so most requests in flight."""
        given = (self.others.get("config_kwargs") or {}).get("max_pool_connections")
        concurrency = int(self.others.get("max_concurrency") or 10)  # s3fs's default
        return int(given or max(self.listing_concurrency, 2 * concurrency))

    @classmethod
    def from_storage_options(cls, storage_options: Mapping[str, Any] | None = None) -> S3Config:
        """Read options under any of their names, with values as text or typed.

        Parameters
        ----------
        storage_options : mapping, optional
            The options.

        Raises
        ------
        OptionError
            If a name is unknown (the message suggests the nearest name), a value is invalid, or two
            names of one option have different values.
        """
        merged = _merge_names(storage_options or {})
        for name, value in merged.items():
            if name in _BOOLEANS:
                merged[name] = _boolean(name, value)
            elif name in _INTEGERS:
                merged[name] = number(name, value, int)
        if (expiry := merged.get("listings_expiry_time")) is not None:
            merged["listings_expiry_time"] = number("listings_expiry_time", expiry, at_least=0)
        _apply_object_store_options(merged)
        hooks = _hooks(merged.pop("on_retry", ()))
        own = {name: merged.pop(name) for name in (*_IN_CLIENT_KWARGS, *_OWN) if name in merged}
        stated, retry = _max_retries(merged), merged.pop("retry", None)
        if stated is None and not _states_max_retries(retry):
            attempts = environment_attempts(own.get("profile"))
            stated = None if attempts is None else attempts - 1
        retry = _retry_policy(retry, stated)
        others = {name: value for name, value in merged.items() if name not in cls.__annotations__}
        return cls(**own, retry=retry, on_retry=hooks, others=others)

    def s3fs_options(self) -> dict[str, Any]:
        """Keyword arguments for :class:`s3fs.S3FileSystem`; they switch off botocore's retries."""
        options = dict(self.others)
        client_kwargs = dict(options.pop("client_kwargs", None) or {})
        for inner in _IN_CLIENT_KWARGS.values():
            client_kwargs.pop(inner, None)
        if self.region is not None:
            client_kwargs["region_name"] = self.region
        config_kwargs = dict(options.pop("config_kwargs", None) or {})
        # Without a mode here, botocore takes one from the environment.
        config_kwargs["retries"] = {"total_max_attempts": 1, "mode": "legacy"}
        config_kwargs.setdefault("http_session_cls", S3Session)
        config_kwargs["max_pool_connections"] = self.max_pool_connections
        if not (config_kwargs.get("user_agent_appid") or states_application(self.profile)):
            config_kwargs.setdefault("user_agent", user_agent())
        if self.profile is not None:
            options["profile"] = self.profile
        for name in ("endpoint_url", "key", "secret", "token", "anon"):
            options[name] = getattr(self, name)
        return {**options, "client_kwargs": client_kwargs, "config_kwargs": config_kwargs}


@cache
def known_options() -> frozenset[str]:
    """Every known option name, other names included."""
    own = {"retry", "max_retries", "on_retry", "listing_concurrency", "batch_size", "header_lines"}
    session = inspect.signature(aiobotocore.session.AioSession.__init__).parameters.keys()
    known = own | _S3FS.keys() | FSSPEC_OPTIONS | session | set(ALIASES) | set(_CANONICAL)
    return frozenset(known - {"self", "args", "kwargs"})


def overlay(given: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """The options *given*, and those of *lower* rank that they do not set under any name.

    Raises OptionError for a name that is not text.
    """
    taken = set(map(_canonical, given))
    inner = given.get("client_kwargs")
    if isinstance(inner, Mapping):
        taken |= {name for name, key in _IN_CLIENT_KWARGS.items() if key in inner}
    if _states_max_retries(given.get("retry")):
        taken.add("max_retries")
    left = {}
    for name, value in lower.items():
        canonical = _canonical(name)
        if canonical in taken:
            continue
        left[name] = value
        if canonical == "client_kwargs" and isinstance(value, Mapping):
            covered = {key for name, key in _IN_CLIENT_KWARGS.items() if name in taken}
            left[name] = {key: v for key, v in value.items() if key not in covered}
        if canonical == "retry" and "max_retries" in taken and isinstance(value, Mapping):
            left[name] = {key: v for key, v in value.items() if key != "max_retries"}
    return {**left, **given}


def over_configuration(cls: type[s3fs.S3FileSystem], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options *given*, over fsspec's configuration for the class.

    fsspec has merged them already, but without regard to other names, and with the configuration of
    ``s3`` over that of ``avroglob``.
    """
    merged = apply_config(cls, {})
    given = {name: v for name, v in given.items() if name not in merged or merged[name] != v}
    configured: dict[str, Any] = {}
    for protocol in ("s3a", "s3", "avroglob"):
        configured = overlay(conf.get(protocol, {}), configured)
    effective = overlay(given, configured)
    effective.pop("skip_instance_cache", None)
    return effective


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for JSON: policies as their fields, hooks given by name, and no None."""

    def plain_value(value: Any) -> Any:
        if isinstance(value, RetryPolicy):
            value = value.to_dict()
        if isinstance(value, Mapping):
            return {name: plain_value(item) for name, item in value.items() if item is not None}
        return value

    hooks = options.get("on_retry") or ()
    hooks = hooks if isinstance(hooks, list | tuple) else [hooks]
    names = [hook for hook in hooks if isinstance(hook, str)]
    made: dict[str, Any] = plain_value({**options, "on_retry": names or None})
    return made


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without secrets, and with URLs without user info."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return without_secrets(value)
        return redacted(value) if isinstance(value, str) else value

    return {
        name: clean(value)
        for name, value in options.items()
        if name not in SECRET_OPTIONS and name.lower() not in SECRET_OPTIONS
    }


def _canonical(name: str) -> str:
    if not isinstance(name, str):
        raise OptionError(_unknown(name))
    lowered = name.lower()
    return _CANONICAL.get(lowered, lowered)


def _merge_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options under their canonical names, without those that are None."""
    merged: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name, value in options.items():
        canonical = _canonical(name)
        if name.lower() not in known_options():
            raise OptionError(_unknown(name))
        _set(merged, source, canonical, name, value)
    for name in _MAPPINGS:
        if not isinstance(merged.get(name, {}), Mapping):
            raise OptionError(redacted(f"{name}={merged[name]!r} is not a mapping"))
    client_kwargs = merged.get("client_kwargs", {})
    for canonical, inner in _IN_CLIENT_KWARGS.items():
        if inner in client_kwargs:
            _set(merged, source, canonical, f"client_kwargs[{inner!r}]", client_kwargs[inner])
    return merged


def _set(
    merged: dict[str, Any], source: dict[str, str], canonical: str, name: str, value: Any
) -> None:
    """Set an option, unless it is None. Raises OptionError if another name has another value."""
    if value is None:
        return
    if canonical in merged and not _same(canonical, merged[canonical], value):
        raise OptionError(
            f"{source[canonical]} and {name} are two names for one option with different values; "
            "give one of them"
        )
    merged[canonical], source[canonical] = value, name


def _same(canonical: str, one: Any, other: Any) -> bool:
    if canonical in _BOOLEANS:
        return _boolean(canonical, one) == _boolean(canonical, other)
    if canonical == "endpoint_url":
        return str(one).rstrip("/") == str(other).rstrip("/")
    return bool(one == other)


def _unknown(name: object) -> str:
    return f"unknown storage option {name!r}{did_you_mean(str(name), known_options())}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown *name*: the known name most like it, if any."""
    import difflib  # rarely needed

    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if name == "requester_pays" and text == "requester":
        return True
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise OptionError(f"{name}={value!r} is neither true nor false")


def _hooks(value: Any) -> tuple[Callable[[RetryEvent], object], ...]:
    """The hooks as callables."""
    hooks = []
    for hook in value if isinstance(value, list | tuple) else [value]:
        found = hook
        try:
            if isinstance(hook, str):
                import pkgutil  # rarely needed

                found = pkgutil.resolve_name(hook)
        except (ImportError, AttributeError, ValueError) as error:
            raise OptionError(f"on_retry={hook!r} cannot be imported: {error}") from None
        if not callable(found):
            raise OptionError(f"on_retry={hook!r} is not callable")
        hooks.append(found)
    return tuple(hooks)


def _apply_object_store_options(merged: dict[str, Any]) -> None:
    """Replace options of object_store that s3fs has in another form."""
    virtual = merged.pop("virtual_hosted_style_request", None)
    if virtual is not None:
        config = merged.get("config_kwargs") or {}
        style = {"addressing_style": "virtual" if virtual else "path"}
        merged["config_kwargs"] = {**config, "s3": {**(config.get("s3") or {}), **style}}
    allow_http = merged.pop("allow_http", None)
    endpoint = merged.get("endpoint_url")
    if allow_http is False and endpoint is not None and str(endpoint).startswith("http://"):
        shown = redacted(f"endpoint_url={endpoint!r}")
        raise OptionError(f"allow_http is false, but {shown} is plain http")


def _states_max_retries(retry: object) -> bool:
    """Whether the option retry says how many retries there are."""
    return isinstance(retry, RetryPolicy) or (isinstance(retry, Mapping) and "max_retries" in retry)


_RETRIES = ("total_max_attempts", "max_attempts", "mode")  # botocore's names


def _max_retries(merged: dict[str, Any]) -> int | None:
    """Take max_retries, which botocore's name ``config_kwargs["retries"]`` states too."""
    own: int | None = merged.pop("max_retries", None)
    given = (merged.get("config_kwargs") or {}).get("retries") or {}
    if not isinstance(given, Mapping):
        raise OptionError(f"config_kwargs['retries']={given!r} is not a mapping")
    if unknown := [name for name in given if name not in _RETRIES]:
        known = ", ".join(_RETRIES)
        raise OptionError(f"config_kwargs['retries'] has no {unknown[0]!r}; it knows {known}")
    if given.get("mode") not in (None, "legacy"):
        _log.info("config_kwargs['retries']['mode'] has no effect: the option retry says how")
    for name, first in (("total_max_attempts", 1), ("max_attempts", 0)):
        if given.get(name) is None:
            continue
        source = f"config_kwargs['retries'][{name!r}]"
        retries: int = number(source, given[name], int, at_least=first) - first
        for other, value in (("max_retries", own), ("retry", merged.get("retry"))):
            if other == "retry" and not _states_max_retries(value):
                continue
            stated = RetryPolicy.from_value(value).max_retries if other == "retry" else value
            if not retries and stated is not None:
                return own  # botocore's retries are off, and ours are stated
            if stated is not None and number("max_retries", stated, int, at_least=0) != retries:
                raise OptionError(
                    f"{source}={given[name]!r} means max_retries={retries}, but {other} says "
                    f"{stated}; give one of them"
                )
        return retries
    return own


def _retry_policy(retry: Any, max_retries: Any) -> RetryPolicy:
    if max_retries is None:
        return RetryPolicy.from_value(retry)
    if retry is None or isinstance(retry, Mapping):
        retry = {"max_retries": max_retries, **(retry or {})}
    policy = RetryPolicy.from_value(retry)
    if policy.max_retries != number("max_retries", max_retries, int, at_least=0):
        raise OptionError(
            f"max_retries={max_retries} and retry with max_retries={policy.max_retries} "
            "contradict each other; give one of them"
        )
    return policy
