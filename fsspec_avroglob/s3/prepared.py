"""Requests as botocore prepared an earlier one, with only what differs made anew.

For each request botocore validates and serialises the arguments, resolves the endpoint by its rules
and builds a header that names the versions of everything: half a millisecond in which nothing
changes between the pages of a listing but three query parameters, and between reads of objects but
the path, the range and the version. What an ordinary call came to is kept here, and later requests
take it over. Sending, with all of signing, credentials, redirects,
parsing and the handlers of events that belong to it, remains botocore's.

An ordinary call is made wherever it might come to something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

from botocore.useragent import UserAgentString
from botocore.utils import percent_encode, percent_encode_sequence

try:
    from botocore import context as features
except ImportError:  # an older botocore, for which all calls are ordinary
    features = None

Kind: TypeAlias = tuple[tuple[str, str | None], ...]


class Operation(NamedTuple):
    """An operation of S3 whose requests are alike.

    - ``name``: in the API, ``method``: of the client.
    - ``query``, ``headers``: the arguments that may differ between requests of one kind, with the
      query parameters and headers that tell them.
    - ``path``: the argument that the path ends with, if one does; it may differ too.
    - ``fixed``: the other arguments, which make a kind.
    """

    name: str
    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    path: str | None
    fixed: frozenset[str]

    @property
    def before_call(self) -> str:
        """The event at which a prepared request joins in."""
        return f"before-call.s3.{self.name}"

    @property
    def earlier_events(self) -> tuple[str, ...]:
        """The events that a prepared request passes by."""
        return (
            f"provide-client-params.s3.{self.name}",
            f"before-parameter-build.s3.{self.name}",
            "before-endpoint-resolution.s3",
        )

    def varying(self, arguments: Mapping[str, str]) -> dict[str, str]:
        """Those of *arguments* that may differ between requests of one kind."""
        return {name: arguments[name] for name in arguments if name not in self.fixed}

    def kind(self, arguments: Mapping[str, Any]) -> Kind | None:
        """What requests have in common that can be made of one another; None for an unusual one."""
        kind: list[tuple[str, str | None]] = []
        for name, value in arguments.items():
            if not isinstance(value, str):
                return None
            if name in self.fixed:
                kind.append((name, value))
            elif name in self.headers and not _HEADER_VALUE.fullmatch(value):
                return None  # it may be refused, or be told in another way
            elif name in self.query or name in self.headers or (name == self.path and value):
                kind.append((name, None))
            else:
                return None
        return tuple(kind)


LISTS = Operation(
    "ListObjectsV2",
    "list_objects_v2",
    {
        "Prefix": "prefix",
        "StartAfter": "start-after",
        "ContinuationToken": "continuation-token",
    },
    {},
    None,
    frozenset({"Bucket", "Delimiter", "FetchOwner", "MaxKeys", "RequestPayer"}),
)
GETS = Operation(
    "GetObject",
    "get_object",
    {"VersionId": "versionId"},
    {"Range": "Range", "IfMatch": "If-Match"},
    "Key",
    frozenset({"Bucket", "RequestPayer"}),
)

_HEADER_VALUE = re.compile(r"[!-~]+")

# The context of a request that needs nothing but a signature; others are left alone.
_CONTEXT = frozenset(
    {
        *("auth_options", "auth_type", "checksum", "client_config", "client_region"),
        *("encoding_type_auto_set", "endpoint_properties", "has_streaming_input", "input_params"),
        *("s3_redirect", "signing", "unsigned_payload"),
    }
)
_SIGNING = frozenset({"disableDoubleEncoding", "region", "signing_name"})
_CHECKSUM = frozenset({"response_algorithms"})
_HEADERS = frozenset({"User-Agent", "x-amz-checksum-mode", "x-amz-request-payer"})


@dataclass
class _Call:
    """What is noted of an ordinary call while it is under way.

    request: as it was before the call. context: the one that redirects will be told in.
    """

    model: Any = None
    request: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    features: frozenset[str] = frozenset()


_under_way: ContextVar[_Call | None] = ContextVar("under_way", default=None)


class PreparedRequests:
    """Sends requests of one operation with one client, and keeps what it prepared for them.

    The client is handed in with each request: it may go when nobody else has it any more.
    """

    def __init__(self, client: Any, operation: Operation) -> None:
        self._operation = operation
        self._templates: dict[Kind, _Template | None] = {}
        client.meta.events.register_first(operation.before_call, _note)
        _remember_user_agent(client)

    @property
    def prepared(self) -> int:
        """How many kinds of requests have been prepared."""
        return sum(template is not None for template in self._templates.values())

    async def send(self, client: Any, arguments: Mapping[str, str]) -> Any:
        """As the client's method with these *arguments*, and with the same result."""
        kind = self._operation.kind(arguments)
        if kind is None:
            return await getattr(client, self._operation.method)(**arguments)
        template = self._templates.get(kind)
        if template is None or template.skipped != _skipped(client, self._operation):
            return await self._ordinarily(client, kind, arguments)
        request = template.request(arguments)
        try:
            return await self._send(client, template, request)
        finally:
            if request["context"]["s3_redirect"]["redirected"]:
                self._templates.pop(kind, None)

    async def _ordinarily(self, client: Any, kind: Kind, arguments: Mapping[str, str]) -> Any:
        call = _Call()
        before = _under_way.set(call)
        try:
            parsed = await getattr(client, self._operation.method)(**arguments)
        finally:
            _under_way.reset(before)
        self._templates[kind] = _template(client, self._operation, call, arguments)
        return parsed

    async def _send(self, client: Any, template: _Template, request: dict[str, Any]) -> Any:
        """What follows in the client's own method once it has prepared a request."""
        model, context = template.model, request["context"]
        before = features.set_context(features.ClientContext(set(template.features)))
        try:
            _, answer = await client.meta.events.emit_until_response(
                self._operation.before_call,
                model=model,
                params=request,
                request_signer=client._request_signer,
                context=context,
            )
            if answer is None:
                answer = await client._make_request(model, request, context)
            http, parsed = answer
            await client.meta.events.emit(
                f"after-call.s3.{self._operation.name}",
                http_response=http,
                parsed=parsed,
                model=model,
                context=context,
            )
        finally:
            features.reset_context(before)
        if http.status_code >= 300:
            code = context.get("error_code_override") or parsed.get("Error", {}).get("Code")
            raise client.exceptions.from_code(code)(parsed, model.name)
        return parsed


class _Skipped(NamedTuple):
    """What a prepared request passes by, and others may have put something of theirs in.

    handlers: botocore's collections of the handlers of each earlier event, None where a change has
    been made since the last ordinary call. methods: those of the client.
    """

    handlers: tuple[Any, ...]
    methods: tuple[Any, ...]


@dataclass(frozen=True)
class _Template:
    """A request that was sent, and what was seen of the client that sent it.

    url: the request's without what *operation* says may differ, and auth_path likewise. features:
    what botocore counted as in use, for its User-Agent. skipped: see :func:`_skipped`.
    """

    operation: Operation
    model: Any
    prepared: Mapping[str, Any]
    url: str
    auth_path: str
    features: frozenset[str]
    skipped: _Skipped

    def request(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        """The request for *arguments*, which are of the same kind."""
        operation, changed = self.operation, self.operation.varying(arguments)
        query, headers = {**self.prepared["query_string"]}, {**self.prepared["headers"]}
        for name, value in changed.items():
            if name in operation.query:
                query[operation.query[name]] = value
            elif name in operation.headers:
                headers[operation.headers[name]] = value
        context = {**self.prepared["context"]}
        redirect, inputs = context["s3_redirect"], context["input_params"]
        context["s3_redirect"] = {**redirect, "params": {**redirect["params"], **changed}}
        context["input_params"] = {name: arguments.get(name, inputs[name]) for name in inputs}
        for name in ("checksum", "signing"):
            if name in context:
                context[name] = {**context[name]}
        request = {
            **self.prepared,
            "headers": headers,
            "query_string": query,
            "url": self.url + _url_end(operation, arguments, query),
            "context": context,
        }
        if operation.path is not None:
            path = _quoted(arguments[operation.path])
            request["url_path"] = f"/{path}"
            request["auth_path"] = self.auth_path + path
        return request


def _url_end(operation: Operation, arguments: Mapping[str, str], query: Mapping[str, str]) -> str:
    """What of a request's URL may differ."""
    encoded = "&".join(map(_encoded, query.items()))
    if operation.path is None:
        return encoded
    path = _quoted(arguments[operation.path])
    return f"{path}?{encoded}" if query else path


@lru_cache(maxsize=1024)
def _encoded(parameter: tuple[str, str]) -> str:
    """A parameter of a query as botocore writes it: most are the same in each request."""
    encoded: str = percent_encode_sequence([parameter])
    return encoded


def _quoted(key: str) -> str:
    """A key as botocore writes it in a path."""
    quoted: str = percent_encode(key, safe="/~")
    return quoted


def _note(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Botocore's ``before-call`` handler: keep what it prepared."""
    call = _under_way.get()
    if call is None or features is None:
        return
    call.model, call.context = model, params["context"]
    call.features = _features_in_use()
    config = params["context"].get("client_config")
    call.request = deepcopy(params, {id(config): config})


def _remember_user_agent(client: Any) -> None:
    """Have a client's User-Agent built once for each set of features, and not for each request."""
    creator: Any = getattr(client, "_user_agent_creator", None)
    unusual = features is None or type(creator) is not UserAgentString
    if unusual or "to_string" in vars(creator):
        return
    build: Callable[[], str] = creator.to_string
    known: dict[Any, str] = {}

    def to_string() -> str:
        key = _features_in_use(), frozenset(getattr(creator, "_client_features", None) or ())
        if key not in known:
            known[key] = build()
        return known[key]

    creator.to_string = to_string


def _features_in_use() -> frozenset[str]:
    """What botocore has counted as in use for the current request."""
    context = features.get_context()
    return frozenset() if context is None else frozenset(context.features)


def _template(
    client: Any, operation: Operation, call: _Call, arguments: Mapping[str, str]
) -> _Template | None:
    """A template made of a call; None where another call might not be like it."""
    try:
        request, context = call.request, call.request["context"]
        url, end = request["url"], _url_end(operation, arguments, request["query_string"])
        auth_path = request.get("auth_path", "")
        path = "" if operation.path is None else _quoted(arguments[operation.path])
        skipped = _skipped(client, operation)
        usual = (
            set(context) <= _CONTEXT
            and not call.context["s3_redirect"]["redirected"]
            and set(context["signing"]) <= _SIGNING
            and set(context.get("checksum", ())) <= _CHECKSUM
            and set(request["headers"]) <= _HEADERS | set(operation.headers.values())
            and client._request_signer is not None
            and end != ""
            and url.endswith(end)
            and auth_path.endswith(path)
            and all(map(_is_botocores, (*skipped.methods, client._make_request)))
            and all(_is_botocores(one) for handlers in skipped.handlers for one in handlers)
        )
        if not usual:
            return None
        template = _Template(
            operation,
            call.model,
            request,
            url.removesuffix(end),
            auth_path.removesuffix(path),
            call.features,
            skipped,
        )
        return template if template.request(arguments) == request else None
    except (AttributeError, KeyError, TypeError):  # botocore's private parts have changed
        return None


def _skipped(client: Any, operation: Operation) -> _Skipped:
    known = client.meta.events._emitter._lookup_cache
    return _Skipped(
        tuple(map(known.get, operation.earlier_events)),
        (getattr(type(client), operation.method), type(client)._make_api_call),
    )


def _is_botocores(handler: Any) -> bool:
    """Whether botocore or aiobotocore defined a function, method or callable object."""
    function = getattr(handler, "__func__", handler)
    if isinstance(function, FunctionType):
        module: str = function.__globals__["__name__"]
    else:
        module = type(handler).__module__
    return module.split(".")[0] in ("botocore", "aiobotocore")
