"""s3fs with our options and one retry layer: :class:`S3Connection` sends every request.

The listings, reads and writes of the filesystem build on it.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from aiobotocore.session import AioSession
from fsspec.dircache import DirCache
from s3fs import S3FileSystem
from s3fs.utils import FileExpired

from fsspec_avroglob.glob.cache import EXPIRY_S, Directories, ListingCache
from fsspec_avroglob.s3.client import prepare_client, send
from fsspec_avroglob.s3.config import S3Config, over_configuration, plain, without_secrets
from fsspec_avroglob.s3.environment import Identity, identity
from fsspec_avroglob.s3.requests import Requests, S3Request
from fsspec_avroglob.s3.retry import RetryPolicy
from fsspec_avroglob.s3.stats import Stats
from fsspec_avroglob.s3.translation import complete, is_precondition

RENEWAL_INTERVAL_S = 1.0
"""Credentials that failed are searched again after this time, also in an unchanged environment."""

_SIGNATURE = inspect.signature(S3FileSystem.__init__)


class S3Connection(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """An s3fs filesystem whose requests follow one retry policy.

    Attributes
    ----------
    config : S3Config
        The options of the instance.
    requests : Requests
        The retry layer, with its window and statistics.
    listings : ListingCache
        Cached listing results. A request that writes removes the paths that it changes.
    """

    session: Any
    _s3: Any

    # s3fs repeats body reads this often. Only our retry layer may retry.
    retries = 1

    # How retries wait. Tests replace it.
    _sleep: Callable[[float], Awaitable[object]] = staticmethod(asyncio.sleep)

    def __init__(self, *args: Any, **storage_options: Any) -> None:
        positional = _SIGNATURE.bind_partial(None, *args).arguments
        del positional["self"]
        options = dict(**positional, **storage_options)  # TypeError if an option is given twice
        loop, session = options.pop("loop", None), options.pop("session", None)
        self._positional = frozenset(positional)
        self._effective = over_configuration(type(self), options)
        self.config = S3Config.from_storage_options(self._effective)
        super().__init__(loop=loop, session=session, **self.config.s3fs_options())
        self.requests = Requests(self.config)
        self.batch_size = self.config.batch_size
        self._identity: Identity | None = None  # what the session's credentials depend on
        self._client_loops: WeakKeyDictionary[Any, asyncio.AbstractEventLoop] = WeakKeyDictionary()
        others = self.config.others
        expiry_s = others.get("listings_expiry_time", EXPIRY_S)
        cached = others.get("use_listings_cache", True)
        self.listings = ListingCache(
            expiry_s=expiry_s,
            enabled=cached and not self.version_aware,
            max_listings=others.get("max_paths") or None,
        )
        # s3fs lists versions itself, and remembers them in its own cache.
        self.dircache = (
            DirCache(cached, expiry_s, others.get("max_paths"))
            if self.version_aware
            else Directories(self.listings)
        )

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy that every S3 request of this instance follows."""
        return self.config.retry

    @property
    def stats(self) -> Stats:
        """Requests, retries, throttles, keys and bytes of this instance, and its request window."""
        return self.requests.stats

    @property
    def storage_options(self) -> dict[str, Any]:
        """The named options that, with ``storage_args``, make an equal instance elsewhere."""
        return self._storage_options

    @storage_options.setter
    def storage_options(self, options: dict[str, Any]) -> None:
        # fsspec adds its own configuration. Options that we overrule must not travel.
        self._storage_options = {
            name: value
            for name, value in {**options, **self._effective}.items()
            if name not in self._positional
            and (name in self._effective or name in ("loop", "session"))
        }

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """As fsspec's, with all options by name, a policy as its fields, and no None."""
        from fsspec.json import FilesystemJSONEncoder

        options = dict(self._effective)
        if not include_password:
            options = without_secrets(options)
        serializable: dict[str, Any] = FilesystemJSONEncoder().make_serializable(plain(options))
        cls = type(self)
        return {
            "cls": f"{cls.__module__}:{cls.__name__}",
            "protocol": self.protocol[0],
            "args": [],
            **serializable,
        }

    # -- requests --

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        """Call a method of the S3 client. Transient failures are retried."""
        from fsspec_avroglob.filesystem.recovery import repeatable

        def send(method: str, **arguments: Any) -> Any:
            return self._request(method, *akwarglist, **arguments)

        async def look_up(method: str, **arguments: Any) -> Any:
            # A further request within an attempt shares the attempt's slot in the window.
            request = S3Request.of(method, arguments)
            self.requests.count(request)
            try:
                return await send(method, **arguments)
            except Exception as error:
                complete(error, str(request))
                raise

        try:
            attempt = repeatable(send, look_up, method, kwargs)
            return await self._retried(attempt, S3Request.of(method, kwargs))
        except OSError as error:
            if kwargs.get("IfNoneMatch") == "*" and is_precondition(error.__cause__):
                # s3fs checks which condition failed. Not every server says so.
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
        """Await ``attempt()`` under the retry policy. Raises the errors that s3fs raises."""
        try:
            return await self.requests.run(request, attempt, progress=progress, sleep=self._sleep)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | FileExpired)
            if request.operation in ("GetObject", "HeadObject") and (
                gone or is_precondition(error.__cause__)
            ):
                self.listings.missing(request.target)
            raise

    async def _request(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        """Send one request with a method of the S3 client. Raises what botocore raises."""
        client, arguments = await self._client_for(method, *akwarglist, **kwargs)
        return await send(client, method, arguments)

    async def _client_for(
        self, method: str, *akwarglist: Any, **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Return the S3 client for a request, and all arguments of the request.

        Raises RuntimeError if the client was made in an event loop that is closed.
        """
        self._follow_environment()
        await self.set_session()
        client = await self.get_s3(kwargs.get("Bucket"))
        loop = self._client_loops.get(client)
        if loop is None:
            prepare_client(client)
            # Botocore has no public name for them. They are used to find secrets in errors.
            signer = getattr(client, "_request_signer", None)
            self.requests.credentials = getattr(signer, "_credentials", None)
            self._client_loops[client] = asyncio.get_running_loop()
        elif loop.is_closed():
            raise RuntimeError(
                "cannot send a request: this filesystem was used in an event loop that is closed; "
                "make an instance for each loop (with skip_instance_cache=True), or close its "
                "session before its loop ends (await (await fs.set_session()).close())"
            )
        arguments = self._get_s3_method_kwargs(getattr(client, method), *akwarglist, **kwargs)
        return client, arguments

    def _follow_environment(self) -> None:
        """Begin another session if the credentials that the last one found may be others now.

        Clients of the last session stay open for the requests that they carry out.
        """
        if self.config.key is not None or self.anon or not self._session_is_owned:
            return
        now = identity()
        failed = self.requests.credentials_failed_s
        searched_again = failed is None or self.requests.clock() - failed < RENEWAL_INTERVAL_S
        if self._s3 is not None and self._identity is None:
            self._identity = now  # the caller began the session
        if now == self._identity and searched_again:
            return
        self._identity, self.requests.credentials_failed_s = now, None
        if self._s3 is None:
            self.session = None
            return
        session = AioSession(**self.kwargs)
        # The description of S3's API takes 12 MB.
        session.register_component("data_loader", self.session.get_component("data_loader"))
        self.session, self._s3 = session, None

    def _forget_written(self, arguments: dict[str, Any]) -> None:
        """Forget what listings returned for the keys that a request writes, and their parents."""
        keys = [item["Key"] for item in arguments.get("Delete", {}).get("Objects", ())]
        if arguments.get("Key") is not None:
            keys.append(arguments["Key"])
        for key in keys:
            self.listings.forget(f"{arguments['Bucket']}/{key}")

    @staticmethod
    def close_session(loop: asyncio.AbstractEventLoop | None, s3: Any) -> None:
        """Close the session of a collected instance, always in the session's own loop.

        The garbage collector may run in another loop, where s3fs would try to close it.
        """
        running = asyncio._get_running_loop()
        if running is None or running is loop:
            S3FileSystem.close_session(loop, s3)
        elif loop is None or not loop.is_running():
            S3FileSystem.close_session(None, s3)
        else:
            asyncio.run_coroutine_threadsafe(s3.__aexit__(None, None, None), loop)
