"""The fsspec face: :class:`AvroGlobFileSystem` puts planned globs and one retry layer on s3fs.

Imported with s3fs, it should take hardly longer than that does. So a module that only some
operations need is imported by the first of these, except what handles failures: that must be there
when no file can be opened any more.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiobotocore.session  # noqa: F401  # not by s3fs, from a deeper stack: see architecture.md
from s3fs import S3FileSystem

from fsspec_avroglob.aio.blocking import with_sync_methods
from fsspec_avroglob.aio.tasks import end_tasks_of
from fsspec_avroglob.filesystem.listing import ObjectLists
from fsspec_avroglob.filesystem.objects import AvroGlobFile
from fsspec_avroglob.filesystem.reading import ObjectReads
from fsspec_avroglob.filesystem.writing import ObjectWrites
from fsspec_avroglob.glob.cache import ListingCache
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.s3.client import list_page, prepare_client
from fsspec_avroglob.s3.config import S3Config, over_configuration, plain
from fsspec_avroglob.s3.requests import Requests, S3Request
from fsspec_avroglob.s3.retry import RetryPolicy
from fsspec_avroglob.s3.stats import Stats
from fsspec_avroglob.s3.translation import is_precondition

if TYPE_CHECKING:
    from fsspec_avroglob.filesystem.join_text import CompressedLines
    from fsspec_avroglob.filesystem.joined import JoinedFile
    from fsspec_avroglob.s3.page import Page

__all__ = ["AvroGlobFileSystem"]

_PARAMETERS = tuple(
    name
    for name, parameter in inspect.signature(S3FileSystem.__init__).parameters.items()
    if name != "self" and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
)


@with_sync_methods
@end_tasks_of("_cat", "_cat_ranges", "_copy", "_get", "_pipe", "_put", "_rm")
class AvroGlobFileSystem(ObjectLists, ObjectReads, ObjectWrites):
    """S3 with planned globs and one retry layer: everything s3fs does, and the same results.

    ``avroglob://bucket/key`` URLs reach it through fsspec. Storage options are those of s3fs, the
    names that other tools use for them (see :class:`~fsspec_avroglob.s3.config.S3Config`), and

    max_retries: retries after the first attempt of each operation (2).
    retry: a :class:`~fsspec_avroglob.s3.retry.RetryPolicy`, or a dict of its fields.
    listing_concurrency: most LIST requests in flight for one listing (64).
    on_retry: called with a ``RetryEvent`` before each wait: a callable,
        its name ("package.module:function", which JSON can hold), or a list of these.

    Raises ValueError for options that are unknown or contradict each other.
    """

    protocol = ("avroglob", "s3", "s3a")
    # s3fs repeats body reads this often; retrying is not its business here.
    retries = 1

    # How retries wait. Tests put in something that does not.
    _sleep: Callable[[float], Awaitable[object]] = staticmethod(asyncio.sleep)

    def __init__(self, *args: Any, **storage_options: Any) -> None:
        given = _by_name(args, storage_options)
        loop, session = given.pop("loop", None), given.pop("session", None)
        self._positional = frozenset(_PARAMETERS[: len(args)])
        self._effective = over_configuration(type(self), given)
        self.config = S3Config.from_storage_options(self._effective)
        super().__init__(loop=loop, session=session, **self.config.s3fs_options())
        self.requests = Requests(self.config)
        self.batch_size = self.config.batch_size
        self._session_loop: tuple[Any, asyncio.AbstractEventLoop] | None = None
        self._prepared_clients: WeakSet[Any] = WeakSet()
        self.memory = ListingCache(
            expiry_s=self.config.others.get("listings_expiry_time"),
            enabled=self.config.others.get("use_listings_cache", True) and not self.version_aware,
        )

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy that every S3 request of this instance follows."""
        return self.config.retry

    @property
    def storage_options(self) -> dict[str, Any]:
        """The named options that, with ``storage_args``, make an equal instance elsewhere."""
        return self._storage_options

    @storage_options.setter
    def storage_options(self, options: dict[str, Any]) -> None:
        # fsspec sets them with its configuration laid in; what was overruled there must not travel.
        self._storage_options = {
            name: value
            for name, value in {**options, **self._effective}.items()
            if name not in self._positional
            and (name in self._effective or name in ("loop", "session"))
        }

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """As fsspec's; all options by name, a policy as its fields, none that is None."""
        from fsspec.json import FilesystemJSONEncoder

        options = dict(self._effective)
        if not include_password:
            options.pop("password", None)
        serializable: dict[str, Any] = FilesystemJSONEncoder().make_serializable(plain(options))
        cls = type(self)
        return {
            "cls": f"{cls.__module__}:{cls.__name__}",
            "protocol": self.protocol[0],
            "args": [],
            **serializable,
        }

    # -- requests --

    async def _request(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        """Send one request with a method of the S3 client. Raises what botocore raises."""
        client, arguments = await self._client_for(method, *akwarglist, **kwargs)
        return await getattr(client, method)(**arguments)

    async def _look_up(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        """Send one request more within an attempt, whose place in the window it shares."""
        self.requests.count(S3Request.of(method, kwargs))
        return await self._request(method, *akwarglist, **kwargs)

    async def _client_for(
        self, method: str, *akwarglist: Any, **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The S3 client for a request, and its arguments with those that this instance adds."""
        await self.set_session()
        self._check_loop()
        client = await self.get_s3(kwargs.get("Bucket"))
        if client not in self._prepared_clients:
            prepare_client(client)
            self._prepared_clients.add(client)
        arguments = self._get_s3_method_kwargs(getattr(client, method), *akwarglist, **kwargs)
        return client, arguments

    def _check_loop(self) -> None:
        """Raise RuntimeError if the session is of an event loop that has been closed."""
        if self._session_loop is None or self._session_loop[0] is not self._s3:
            self._session_loop = self._s3, asyncio.get_running_loop()
        elif self._session_loop[1].is_closed():
            raise RuntimeError(
                "this filesystem has been used in an event loop that is closed now: make an "
                "instance for each loop (with skip_instance_cache=True), or close its session "
                "before its loop ends (await (await fs.set_session()).close())"
            )

    @staticmethod
    def close_session(loop: asyncio.AbstractEventLoop | None, s3: Any) -> None:
        """As s3fs's, when an instance is collected; never in another loop than the session's own.

        Collection may happen in any, and there the session could not be closed.
        """
        running = asyncio._get_running_loop()
        if running is None or running is loop:
            S3FileSystem.close_session(loop, s3)
        elif loop is None or not loop.is_running():
            S3FileSystem.close_session(None, s3)
        else:
            asyncio.run_coroutine_threadsafe(s3.__aexit__(None, None, None), loop)

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        """Call a method of the S3 client, again after transient failures."""
        from fsspec_avroglob.filesystem.recovery import repeatable

        try:
            return await self._retried(
                repeatable(self._request, self._look_up, method, akwarglist, kwargs),
                S3Request.of(method, kwargs),
            )
        except OSError as error:
            if kwargs.get("IfNoneMatch") == "*" and is_precondition(error.__cause__):
                # Not every server says which condition failed, and s3fs goes by that.
                path = f"{kwargs['Bucket']}/{kwargs['Key']}"
                raise FileExistsError(errno.EEXIST, "the object exists", path) from error
            raise
        finally:
            if not method.startswith(("get_", "head_", "list_")):
                self._forget_written(kwargs)

    async def _retried(
        self,
        attempt: Callable[[], Awaitable[Any]],
        request: S3Request,
        progress: Callable[[], int] | None = None,
    ) -> Any:
        """Await ``attempt()`` under the retry policy. Raises the errors that s3fs's users know."""
        return await self.requests.run(request, attempt, progress=progress, sleep=self._sleep)

    @property
    def stats(self) -> Stats:
        """Requests, retries, throttles, keys and bytes of this instance, and its request window."""
        return self.requests.stats

    def _forget_written(self, arguments: dict[str, Any]) -> None:
        bucket, key = arguments.get("Bucket"), arguments.get("Key")
        keys = [item["Key"] for item in arguments.get("Delete", {}).get("Objects", ())]
        for written in keys if key is None else [*keys, key]:
            path = f"{bucket}/{written}"
            while "/" in path:
                # Its parents may have become directories, or ceased to be.
                self.memory.forget(path)
                path = path.rpartition("/")[0]

    async def _fetch_page(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str,
        start_after: str | None,
        token: str | None,
        detail: bool = False,
    ) -> Page:
        """One page of ListObjectsV2, decoded from its bytes where these are understood."""
        arguments: dict[str, str] = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}
        if token is not None:
            arguments["ContinuationToken"] = token
        elif start_after is not None:
            arguments["StartAfter"] = start_after
        read = partial(self._read_page, arguments, detail)
        page: Page = await self._retried(read, S3Request.of("list_objects_v2", arguments))
        self.stats.keys += len(page.keys)
        return page

    async def _read_page(self, arguments: dict[str, str], detail: bool) -> Page:
        client, arguments = await self._client_for("list_objects_v2", **arguments)
        return await list_page(client, arguments, detail=detail)

    # -- objects --

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        acl: str | bool = False,
        version_id: str | None = None,
        fill_cache: bool | None = None,
        cache_type: str | None = None,
        autocommit: bool = True,
        size: int | None = None,
        requester_pays: bool | None = None,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> AvroGlobFile | JoinedFile | CompressedLines:
        """A file over one object, with s3fs's parameters and defaults.

        A glob, unless an object has just that name, is read as one file over all that match (see
        ``open_glob``). Raises FileExistsError for mode "xb" and an
        object that exists.
        """
        if "x" in mode and self.exists(path):
            raise FileExistsError(errno.EEXIST, "the object exists", self._strip_protocol(path))
        if version_id and not self.version_aware:
            raise ValueError("version_id needs a filesystem with version_aware=True")
        block_size = block_size or self.default_block_size
        cache_type = cache_type or self.default_cache_type
        if mode == "rb" and not self.version_aware and is_glob_pattern(path):
            # Brings the Avro modules, which nothing else here needs.
            from fsspec_avroglob.filesystem.open_glob import open_glob

            joined = open_glob(self, path, block_size, cache_type, cache_options)
            if joined is not None:
                return joined
        extra = {**self.s3_additional_kwargs, **kwargs}
        return AvroGlobFile(
            self,
            path,
            mode,
            block_size=block_size,
            acl=acl or extra.get("ACL") or extra.get("acl") or False,
            version_id=version_id,
            fill_cache=self.default_fill_cache if fill_cache is None else fill_cache,
            s3_additional_kwargs=extra,
            autocommit=autocommit,
            cache_type=cache_type,
            requester_pays=bool(self.req_kw) if requester_pays is None else requester_pays,
            cache_options=cache_options,
            size=size,
        )

    # -- methods of s3fs that take no URLs --

    async def _rmdir(self, path: str) -> None:
        await super()._rmdir(self._strip_protocol(path))

    # -- what listings have told --

    async def _info(
        self,
        path: str,
        bucket: str | None = None,
        key: str | None = None,
        refresh: bool = False,
        version_id: str | None = None,
    ) -> dict[str, Any]:
        """As s3fs's; a path that a listing has returned costs no request."""
        path = self._strip_protocol(path)
        if not refresh and version_id is None and not self._in_dircache(path):
            remembered = self.memory.info(path.lstrip("/"))
            if remembered is not None:
                return remembered
        info: dict[str, Any] = await super()._info(path, bucket, key, refresh, version_id)
        return info

    def _in_dircache(self, path: str) -> bool:
        """Whether s3fs's own cache of whole directories can tell of *path*."""
        try:
            return self._ls_from_cache(path.lstrip("/")) is not None
        except FileNotFoundError:
            return False

    async def _isdir(self, path: str) -> bool:
        """As s3fs's; a path that a listing has returned costs no request."""
        stripped = self._strip_protocol(path).strip("/")
        remembered = None if self._in_dircache(stripped) else self.memory.is_directory(stripped)
        found: bool = await super()._isdir(path) if remembered is None else remembered
        return found

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings of *path* and its parents, and all that globs have remembered."""
        super().invalidate_cache(path)
        self.memory.forget()


def _by_name(args: Sequence[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Positional arguments, which s3fs takes in this order, and options as one mapping."""
    if len(args) > len(_PARAMETERS):
        raise TypeError(f"at most {len(_PARAMETERS)} positional arguments, not {len(args)}")
    positional = dict(zip(_PARAMETERS, args, strict=False))
    if twice := sorted(positional.keys() & options.keys()):
        raise TypeError(f"{', '.join(twice)}: given by position and by name")
    return {**positional, **options}
