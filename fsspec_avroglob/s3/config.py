"""Storage options: every name that people know them by, made into what s3fs takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import aiobotocore.session
import s3fs
from aiobotocore.httpsession import AIOHTTPSession
from fsspec.config import apply_config, conf

from fsspec_avroglob.errors import OptionError
from fsspec_avroglob.s3.retry import RetryEvent, RetryPolicy, convert
from fsspec_avroglob.s3.spelling import did_you_mean

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
"""Canonical name of an option -> the other names for it. Names are compared in lower case."""

FSSPEC_OPTIONS = frozenset(
    {"use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache"}
)
"""What every filesystem of fsspec takes."""

_CANONICAL = {alias: name for name, aliases in ALIASES.items() for alias in aliases}

# The same settings, where they may also stand inside client_kwargs.
_IN_CLIENT_KWARGS = {
    "endpoint_url": "endpoint_url",
    "key": "aws_access_key_id",
    "secret": "aws_secret_access_key",
    "token": "aws_session_token",
    "region": "region_name",
}
_SECRETS = frozenset({"key", "secret", "token"})
_BOOLEANS = (
    "anon",
    "requester_pays",
    "use_ssl",
    "version_aware",
    "cache_regions",
    "default_fill_cache",
    "fixed_upload_size",
    "local_expiry_check",
    "use_listings_cache",
    "asynchronous",
    "virtual_hosted_style_request",
    "allow_http",
)
_MAPPINGS = ("client_kwargs", "config_kwargs", "s3_additional_kwargs")
_OWN = ("anon", "profile", "listing_concurrency", "batch_size")
_INTEGERS = ("max_concurrency", "default_block_size", "max_paths", "batch_size")


class OneAttemptSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """aiobotocore's HTTP session without aiohttp's own second attempt at a dropped connection."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False
        return session


@dataclass(frozen=True)
class S3Config:
    """How to reach S3, under one name for each thing. Make it with :meth:`from_storage_options`.

    endpoint_url: the server, None for AWS.
    key, secret, token: credentials; None leaves them to botocore (environment, files, instance).
    region: region name. anon: send unsigned requests. profile: section of the AWS config files.
    retry: the policy for every request; ``max_retries`` is its number of retries.
    listing_concurrency: most LIST requests in flight at once for one listing.
    batch_size: most objects that fsspec's bulk operations treat at once.
    on_retry: called with a ``RetryEvent`` before each wait; the option
        is a callable, its name as "package.module:function", or a list of these.
    others: every further option, as s3fs names it.

    Credentials never show in the repr.
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
    on_retry: tuple[Callable[[RetryEvent], object], ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        convert(self, "listing_concurrency", int, at_least=1)

    @property
    def max_retries(self) -> int:
        """Retries after the first attempt of an operation (default 2)."""
        return self.retry.max_retries

    @property
    def credentials_source(self) -> str:
        """Where credentials were looked for, in words; never what they are."""
        if self.anon:
            source = "requests are sent without credentials (anon=True)"
        elif self.key is not None:
            token = ", secret and token" if self.token is not None else " and secret"
            source = f"the credentials were those of the options key{token}"
        elif self.profile is not None:
            source = f"credentials were looked for in the profile {self.profile!r} of AWS's files"
        else:
            source = (
                "no key was given, so credentials were looked for in the environment "
                "(AWS_ACCESS_KEY_ID), AWS's configuration files and the machine's role"
            )
        return f"{source}; options come from storage_options, then from fsspec's configuration"

    @property
    def max_pool_connections(self) -> int:
        """Most connections, and so most requests in flight at once."""
        given = (self.others.get("config_kwargs") or {}).get("max_pool_connections")
        # Each listing may use all of its concurrency, and reading goes on beside it.
        return int(given or max(self.listing_concurrency, 2 * _concurrency(self.others)))

    @classmethod
    def from_storage_options(
        cls,
        storage_options: Mapping[str, Any] | None = None,
        *,
        defaults: Mapping[str, Any] | None = None,
    ) -> S3Config:
        """Normalise *storage_options*: any spelling of a name, values as text or typed.

        defaults: options of lower rank, which give way (see :func:`overlay`).

        Raises OptionError (a ValueError) for two names of one thing with different values, for an
        unknown name (suggesting the nearest known one) and for a value that cannot be what its name
        asks for.
        """
        merged = _merge_names(overlay(storage_options or {}, defaults or {}))
        for name in _BOOLEANS:
            if name in merged:
                merged[name] = _boolean(name, merged[name])
        for name in _INTEGERS:
            if name in merged:
                merged[name] = _integer(name, merged[name])
        if "listings_expiry_time" in merged:
            merged["listings_expiry_time"] = _seconds(merged["listings_expiry_time"])
        _apply_object_store_options(merged)
        hooks = _hooks(merged.pop("on_retry", ()))
        own = {name: merged.pop(name) for name in (*_IN_CLIENT_KWARGS, *_OWN) if name in merged}
        retry = _retry_policy(merged.pop("retry", None), merged.pop("max_retries", None))
        others = {name: value for name, value in merged.items() if name not in cls.__annotations__}
        return cls(**own, retry=retry, on_retry=hooks, others=others)

    def s3fs_options(self) -> dict[str, Any]:
        """Keyword arguments for :class:`s3fs.S3FileSystem`, with botocore's own retries off."""
        options = dict(self.others)
        client_kwargs = dict(options.pop("client_kwargs", None) or {})
        for name, inner in _IN_CLIENT_KWARGS.items():
            if name != "region":
                client_kwargs.pop(inner, None)
        if self.region is not None:
            client_kwargs["region_name"] = self.region
        config_kwargs = dict(options.pop("config_kwargs", None) or {})
        # One layer retries, and it is not this one. A mode from the environment must not matter.
        config_kwargs["retries"] = {"total_max_attempts": 1, "mode": "legacy"}
        config_kwargs.setdefault("http_session_cls", OneAttemptSession)
        config_kwargs["max_pool_connections"] = self.max_pool_connections
        if self.profile is not None:
            options["profile"] = self.profile
        return {
            **options,
            "endpoint_url": self.endpoint_url,
            "key": self.key,
            "secret": self.secret,
            "token": self.token,
            "anon": self.anon,
            "client_kwargs": client_kwargs,
            "config_kwargs": config_kwargs,
        }


@cache
def known_options() -> frozenset[str]:
    """Every option name that is understood, aliases included."""
    own = {"retry", "max_retries", "on_retry", "listing_concurrency", "batch_size"}
    s3 = set(inspect.signature(s3fs.S3FileSystem.__init__).parameters) - {"self", "kwargs"}
    session = set(inspect.signature(aiobotocore.session.AioSession.__init__).parameters) - {"self"}
    return frozenset(own | s3 | FSSPEC_OPTIONS | session | set(ALIASES) | set(_CANONICAL)) - {
        "kwargs",
        "args",
    }


def overlay(given: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """The options *given* over those of *lower* rank, which give way under whatever name they go.

    Raises OptionError for a name that is no text.
    """
    said = set(map(_canonical, given))
    inner = given.get("client_kwargs")
    if isinstance(inner, Mapping):
        said |= {name for name, key in _IN_CLIENT_KWARGS.items() if key in inner}
    retry = given.get("retry")
    if isinstance(retry, RetryPolicy) or (isinstance(retry, Mapping) and "max_retries" in retry):
        said.add("max_retries")
    left = {}
    for name, value in lower.items():
        canonical = _canonical(name)
        if canonical in said:
            continue
        left[name] = value
        if canonical == "client_kwargs" and isinstance(value, Mapping):
            silenced = {key for name, key in _IN_CLIENT_KWARGS.items() if name in said}
            left[name] = {key: v for key, v in value.items() if key not in silenced}
        if canonical == "retry" and "max_retries" in said:
            fields = value.to_dict() if isinstance(value, RetryPolicy) else value
            if isinstance(fields, Mapping):
                left[name] = {key: v for key, v in fields.items() if key != "max_retries"}
    return {**left, **given}


def over_configuration(cls: type[s3fs.S3FileSystem], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given over fsspec's configuration for the class, under whatever names they go.

    fsspec has laid the one over the other already, but name by name and with the configuration of
    ``s3`` over that of ``avroglob``.
    """
    merged = apply_config(cls, {})
    given = {name: v for name, v in given.items() if name not in merged or merged[name] != v}
    configured: dict[str, Any] = {}
    for protocol in reversed(cls.protocol):
        configured = overlay(conf.get(protocol, {}), configured)
    effective = overlay(given, configured)
    effective.pop("skip_instance_cache", None)
    return effective


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON can hold them: policies as their fields, hooks by name, none that is None."""
    hooks = _names(options["on_retry"]) if "on_retry" in options else None
    made: dict[str, Any] = _plain({**options, "on_retry": hooks})
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, RetryPolicy):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    return value


def _names(hooks: Any) -> list[str] | None:
    """Hooks by the names that they can be imported by, which others lack; None for none."""
    names = []
    for hook in hooks if isinstance(hooks, list | tuple) else [hooks]:
        name = hook
        if not isinstance(hook, str):
            name = f"{getattr(hook, '__module__', '')}:{getattr(hook, '__qualname__', '')}"
        try:
            found = _imported(name)
        except (ImportError, AttributeError, ValueError):
            continue
        if found is hook or hook == name:
            names.append(name)
    return names or None


def _imported(name: str) -> Any:
    import pkgutil  # seldom needed

    return pkgutil.resolve_name(name)


def _canonical(name: str) -> str:
    if not isinstance(name, str):
        raise OptionError(_unknown(name))
    lowered = name.lower()
    return _CANONICAL.get(lowered, lowered)


def _merge_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options under their canonical names, without those that are None ("not given")."""
    merged: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name, value in options.items():
        canonical = _canonical(name)
        if name.lower() not in known_options():
            raise OptionError(_unknown(name))
        _place(merged, source, canonical, name, value)
    for name in _MAPPINGS:
        if not isinstance(merged.get(name, {}), Mapping):
            raise OptionError(f"{name}={merged[name]!r} is not a mapping")
    client_kwargs = merged.get("client_kwargs", {})
    for canonical, inner in _IN_CLIENT_KWARGS.items():
        if inner in client_kwargs:
            _place(merged, source, canonical, f"client_kwargs[{inner!r}]", client_kwargs[inner])
    return merged


def _place(
    merged: dict[str, Any], source: dict[str, str], canonical: str, name: str, value: Any
) -> None:
    if value is None:
        return
    if canonical in merged and not _same(canonical, merged[canonical], value):
        other = source[canonical]
        raise OptionError(
            f"{other}{_shown(canonical, merged[canonical])} and {name}{_shown(canonical, value)} "
            f"are two names for one option with different values; give one of them"
        )
    merged[canonical], source[canonical] = value, name


def _same(canonical: str, one: Any, other: Any) -> bool:
    if canonical in _BOOLEANS:
        return _boolean(canonical, one) == _boolean(canonical, other)
    if canonical == "endpoint_url":
        return str(one).rstrip("/") == str(other).rstrip("/")
    return bool(one == other)


def _shown(canonical: str, value: Any) -> str:
    return "" if canonical in _SECRETS else f"={value!r}"


def _unknown(name: object) -> str:
    return f"unknown storage option {name!r}{did_you_mean(str(name), known_options())}"


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if name == "requester_pays" and text == "requester":
        return True
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise OptionError(f"{name}={value!r} is neither true nor false")


def _integer(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool) or int(value) != float(value):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name}={value!r} is not a whole number") from None


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
        if math.isnan(seconds) or seconds < 0:
            raise ValueError
        return seconds
    except (TypeError, ValueError):
        raise OptionError(f"listings_expiry_time={value!r} is not a number of seconds") from None


def _hooks(value: Any) -> tuple[Callable[[RetryEvent], object], ...]:
    """Callables, given as such or by name."""
    if not isinstance(value, list | tuple):
        value = (value,)
    hooks = []
    for hook in value:
        try:
            found = _imported(hook) if isinstance(hook, str) else hook
        except (ImportError, AttributeError, ValueError) as error:
            raise OptionError(f"on_retry={hook!r} cannot be imported: {error}") from None
        if not callable(found):
            raise OptionError(f"on_retry={hook!r} is not callable")
        hooks.append(found)
    return tuple(hooks)


def _concurrency(options: Mapping[str, Any]) -> int:
    return int(options.get("max_concurrency") or 10)


def _apply_object_store_options(merged: dict[str, Any]) -> None:
    """Options of object_store that s3fs expresses another way."""
    virtual = merged.pop("virtual_hosted_style_request", None)
    if virtual is not None:
        config = dict(merged.get("config_kwargs") or {})
        config["s3"] = {
            **(config.get("s3") or {}),
            "addressing_style": "virtual" if virtual else "path",
        }
        merged["config_kwargs"] = config
    allow_http = merged.pop("allow_http", None)
    endpoint = merged.get("endpoint_url")
    if allow_http is False and endpoint is not None and str(endpoint).startswith("http://"):
        raise OptionError(f"allow_http is false, but endpoint_url={endpoint!r} is plain http")


def _retry_policy(retry: Any, max_retries: Any) -> RetryPolicy:
    if max_retries is None:
        return RetryPolicy.from_value(retry)
    if retry is None:
        return RetryPolicy(max_retries=max_retries)
    named = RetryPolicy(max_retries=max_retries).max_retries
    if isinstance(retry, Mapping) and "max_retries" not in retry:
        return RetryPolicy.from_value({**retry, "max_retries": named})
    policy = RetryPolicy.from_value(retry)
    if policy.max_retries != named:
        raise OptionError(
            f"max_retries={named} and retry with max_retries={policy.max_retries} "
            "contradict each other; give one of them"
        )
    return policy
