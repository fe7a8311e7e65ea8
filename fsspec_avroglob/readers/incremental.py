"""Globs that give only what is new since the last commit."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, Self

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import on_io_loop
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.glob.magic import is_glob_pattern
from fsspec_avroglob.glob.times import duration, modified_time
from fsspec_avroglob.readers.cursor import Cursor, Seen, StateFile
from fsspec_avroglob.readers.locate import (
    Location,
    SourcePath,
    StorageOptions,
    locate,
    match_name,
    matching_infos,
)
from fsspec_avroglob.readers.name_order import NameOrder, order_of

_ONE_DAY = dt.timedelta(days=1)  # names may be in another time zone


class NewFile(NamedTuple):
    """A file that was added or changed since the last commit.

    Attributes
    ----------
    name : str
        Its path or URL, in the form of the pattern.
    path : str
        Its path in the filesystem.
    size : int
        Its size in bytes; 0 if unknown.
    modified : datetime.datetime
        When it was last modified, in UTC.
    version : str
        Its ETag; size and time on filesystems without ETags.
    """

    name: str
    path: str
    size: int
    modified: dt.datetime
    version: str


class IncrementalGlob:
    """The files of a glob that were added or changed since the last commit.

    :meth:`new` lists and :meth:`commit` remembers, so each file is processed at least once: if a
    run fails between the two, the next one gets the same files again. As a context manager, it
    commits when the block ends without an error.

    Parameters
    ----------
    pattern : str or path
        A glob, on any filesystem whose infos tell when a file was modified.
    state : str or path
        The file that holds what was committed, anywhere fsspec writes. The first commit makes it.
    storage_options : mapping, optional
        Options of the filesystems of *pattern* and *state*; by protocol if they differ.
    lookback : str or datetime.timedelta
        How much older than the last committed file a file may be that appears later: as long as the
        longest upload lasts, because S3 dates an object to the begin of its upload. Files within
        this time are remembered by name.
    late : str, datetime.timedelta or None
        Where all names begin with a date (``day=2026-11-30/``, ``2026/11/30/``), files may carry a
        date up to this long before the last committed file; older dates are not listed. None lists
        all each time.

    Raises
    ------
    ValueError
        A length of time is invalid; or, by the methods, *state* is damaged or belongs to another
        pattern, or the filesystem does not tell when files were modified.
    FileNotFoundError
        By the methods: the bucket or the directory of the pattern does not exist.

    Examples
    --------
    >>> from fsspec_avroglob import IncrementalGlob, read_avro
    >>> with IncrementalGlob("s3://lake/day=*/*.avro", "s3://jobs/events.json") as glob:
    ...     if files := glob.new(max_files=1000):  # doctest: +SKIP
    ...         read_avro(files).to_parquet("s3://out/...")
    """

    def __init__(
        self,
        pattern: SourcePath,
        state: SourcePath,
        *,
        storage_options: StorageOptions = None,
        lookback: str | dt.timedelta = "1h",
        late: str | dt.timedelta | None = "2d",
    ) -> None:
        self._options = storage_options
        self._pattern, self._state = pattern, StateFile(state, storage_options, str(pattern))
        self._lookback = duration(lookback)
        self._late = None if late is None else duration(late)
        self._cursor: Cursor | None = None
        self._waiting: list[NewFile] = []
        self._batch: list[NewFile] = []

    def new(self, *, max_files: int | None = None, max_bytes: int | None = None) -> list[str]:
        """Return the names of files that are not committed, those modified first at the front.

        Until they are committed, the same files are returned again. After a commit of a limited
        number, the rest of the listing comes without a request.

        Parameters
        ----------
        max_files : int, optional
            The most files to return.
        max_bytes : int, optional
            The most bytes that the files have together. One file is returned even if it has more.
        """
        return blocking(self._new, max_files, max_bytes)

    async def new_async(
        self, *, max_files: int | None = None, max_bytes: int | None = None
    ) -> list[str]:
        """:meth:`new` as a coroutine."""
        return await on_io_loop(self._new, max_files, max_bytes)

    @property
    def files(self) -> list[NewFile]:
        """What is known of the files that :meth:`new` returned and that are not committed."""
        return list(self._batch)

    def commit(self) -> int:
        """Remember that the files of the last :meth:`new` are done. Return their number.

        Raises
        ------
        StateConflictError
            Another run has committed since the state was read. Nothing is written.
        """
        return blocking(self._commit)

    async def commit_async(self) -> int:
        """:meth:`commit` as a coroutine."""
        return await on_io_loop(self._commit)

    def explain(self) -> str:
        """Return the plan of the next listing, as text, and where it starts. Reads the state."""
        return blocking(self._explain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if kind is None:
            self.commit()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if kind is None:
            await self.commit_async()

    # -- on the I/O loop --

    async def _new(self, max_files: int | None, max_bytes: int | None) -> list[str]:
        for name, most in (("max_files", max_files), ("max_bytes", max_bytes)):
            if most is not None and most < 1:
                raise ValueError(f"{name}={most!r} must be at least 1")
        if self._batch or not self._waiting:
            self._cursor, self._waiting, self._batch = None, [], []
            self._cursor = await self._state.read()
            self._waiting = await self._uncommitted(self._cursor)
        self._batch = self._waiting[:max_files]
        if max_bytes is not None:
            total = 0
            for count, file in enumerate(self._batch):
                total += file.size
                if count and total > max_bytes:
                    del self._batch[count:]
                    break
        return [file.name for file in self._batch]

    async def _uncommitted(self, cursor: Cursor) -> list[NewFile]:
        """List the files that *cursor* does not know, and learn or forget the order of names."""
        [location] = await asyncio.to_thread(locate, self._pattern, self._options)
        listing = _Listing(location, await self._state.location(), cursor, self._lookback)
        start = self._start(cursor)
        await listing.run(start)
        if start is not None and listing.order is None:
            # A file outside the order that all files had: others may lie before the start.
            await listing.run(None)
        new = sorted(listing.new, key=lambda file: (file.modified, file.path))
        cursor.order = listing.order if self._is_current(listing.order, new, cursor) else None
        return new

    def _is_current(self, order: NameOrder | None, new: list[NewFile], cursor: Cursor) -> bool:
        """Whether names are in *order*, and the dates of new files are not long ago.

        At the first run, the files of the last hour (*lookback*) count.
        """
        if order is None or self._late is None or cursor.order == order:
            return order is not None and self._late is not None
        if cursor.time is None and new:
            new = [file for file in new if file.modified >= new[-1].modified - self._lookback]
        behind = self._late + _ONE_DAY
        days = [(order.day(file.path), (file.modified - behind).date()) for file in new]
        return bool(days) and all(day is not None and day >= least for day, least in days)

    def _start(self, cursor: Cursor) -> str | None:
        """A path that sorts before all files that may be new; None for all files."""
        if cursor.order is None or cursor.time is None or self._late is None:
            return None
        return cursor.order.first(cursor.time - self._late - _ONE_DAY)

    async def _commit(self) -> int:
        if not self._batch or self._cursor is None:
            return 0
        cursor, done = self._cursor, self._batch
        last = done[-1].modified
        time = last if cursor.time is None else max(cursor.time, last)
        since = time - self._lookback
        seen = cursor.seen | {file.path: Seen(file.version, file.modified) for file in done}
        recent = {path: file for path, file in seen.items() if file.modified >= since}
        self._cursor = await self._state.write(cursor.moved(time, recent))
        del self._waiting[: len(done)]
        self._batch = []
        return len(done)

    async def _explain(self) -> str:
        cursor = await self._state.read()
        [location] = await asyncio.to_thread(locate, self._pattern, self._options)
        start = self._start(cursor)
        what = "all that match" if cursor.time is None else f"modified since {cursor.time:%F %T}Z"
        lines = [f"{location.name}: {what}, less {self._lookback}"]
        if isinstance(location.fs, AvroGlobFileSystem):
            plan = location.fs.explain(location.path, withdirs=False, start_after=start)
            lines.append(str(plan))
        return "\n".join(lines)


class _Listing:
    """A listing of what a cursor does not know.

    Attributes
    ----------
    new : list of NewFile
        Files that were added or changed.
    order : NameOrder or None
        The order by date of all names that were listed, if they have one.
    """

    def __init__(
        self, pattern: Location, state: Location, cursor: Cursor, lookback: dt.timedelta
    ) -> None:
        self._pattern, self._state, self._cursor = pattern, state, cursor
        self._since = None if cursor.time is None else cursor.time - lookback

    async def run(self, start: str | None) -> None:
        """List the files whose paths sort after *start*; all of them for None."""
        self.new: list[NewFile] = []
        self.order, self._first = self._cursor.order, True
        fs = self._pattern.fs
        if not isinstance(fs, AvroGlobFileSystem):
            self._add((await matching_infos(self._pattern)).items())
            self.order = None
        elif not is_glob_pattern(self._pattern.path):
            self._add({info["name"]: info for info in [await fs._info(self._pattern.path)]}.items())
        else:
            batches = fs._iglob_batches(
                self._pattern.path, withdirs=False, detail=True, start_after=start
            )
            async with aclosing(batches):
                async for batch in batches:
                    self._add((info["name"], info) for info in batch)

    def _add(self, infos: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        for path, info in infos:
            if path == self._state.path and type(self._pattern.fs) is type(self._state.fs):
                continue
            if self._first:
                self.order, self._first = self.order or order_of(path), False
            if self.order is not None and self.order.day(path) is None:
                self.order = None
            modified = modified_time(info)
            if modified is None:
                raise ValueError(f"{path}: the filesystem does not tell when it was modified")
            if self._since is not None and modified < self._since:
                continue
            version = _version(info, modified)
            seen = self._cursor.seen.get(path)
            if seen is None or seen.version != version:
                name, size = match_name(self._pattern, path), info.get("size") or 0
                self.new.append(NewFile(name, path, size, modified, version))


def _version(info: Mapping[str, Any], modified: dt.datetime) -> str:
    etag = info.get("ETag")
    return str(etag) if etag else f"{info.get('size')} bytes, {modified.isoformat()}"
