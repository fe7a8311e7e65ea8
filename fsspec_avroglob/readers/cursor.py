"""The state of an incremental glob: a small JSON file that only one of two runs can replace."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

from fsspec.implementations.local import LocalFileSystem

from fsspec_avroglob.errors import StateConflictError
from fsspec_avroglob.filesystem.atomic import atomic_path
from fsspec_avroglob.filesystem.core import AvroGlobFileSystem
from fsspec_avroglob.readers.locate import (
    Location,
    SourcePath,
    StorageOptions,
    call,
    filesystem_for,
    read_part,
)
from fsspec_avroglob.readers.name_order import NameOrder
from fsspec_avroglob.s3.translation import error_code, is_precondition

_FORMAT = 1


class Seen(NamedTuple):
    """A file that was committed: its version, and when it was modified."""

    version: str
    modified: dt.datetime


@dataclass
class Cursor:
    """What was committed.

    Attributes
    ----------
    time
        When the last committed file was modified; None before the first commit.
    seen
        Committed files that are not much older, by path.
    order
        The order of all names by date, if they have one.
    commit
        Identifies the commit; "" before the first one.
    etag
        Version of the object that holds the state, where the server tells it.
    """

    time: dt.datetime | None = None
    seen: dict[str, Seen] = field(default_factory=dict)
    order: NameOrder | None = None
    commit: str = ""
    etag: str | None = None

    def moved(self, time: dt.datetime, seen: dict[str, Seen]) -> Self:
        """The cursor of the next commit."""
        return replace(self, time=time, seen=seen)

    def to_json(self, pattern: str) -> bytes:
        """The content of the state file."""
        order = self.order and [self.order.lead, self.order.form]
        seen = {path: [file.version, _text(file.modified)] for path, file in self.seen.items()}
        time = self.time and _text(self.time)
        content = {"format": _FORMAT, "pattern": pattern, "commit": self.commit, "time": time}
        return json.dumps({**content, "order": order, "seen": seen}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, etag: str | None) -> tuple[str, Self]:
        """The pattern and the cursor. Raises an error if *data* is no state."""
        content: dict[str, Any] = json.loads(data)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, not {_FORMAT}")
        seen = {p: Seen(v, dt.datetime.fromisoformat(t)) for p, (v, t) in content["seen"].items()}
        time = content["time"] and dt.datetime.fromisoformat(content["time"])
        order = content["order"] and NameOrder(*content["order"])
        return content["pattern"], cls(time, seen, order, content["commit"], etag)


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat()


class StateFile:
    """The file that holds the cursor of *pattern*."""

    def __init__(self, url: SourcePath, storage_options: StorageOptions, pattern: str) -> None:
        self._url, self._options, self._pattern = url, storage_options, pattern

    async def location(self) -> Location:
        """Where the state is."""
        fs, path = await asyncio.to_thread(filesystem_for, self._url, self._options)
        return Location(str(self._url), fs, path)

    async def read(self) -> Cursor:
        """Return the cursor; a new one if the file does not exist.

        Raises ValueError if the file is no state or belongs to another pattern.
        """
        location = await self.location()
        try:
            part = await read_part(location, 0, None)
        except FileNotFoundError as error:
            if error.__cause__ and error_code(error.__cause__.__cause__) == "NoSuchBucket":
                raise
            return Cursor()
        try:
            pattern, cursor = Cursor.from_json(part.data, part.etag)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"{location.name} is no state of an incremental glob ({error}); give another"
            raise ValueError(message) from error
        if pattern != self._pattern:
            raise ValueError(
                f"{location.name} is the state of {pattern!r}, not of {self._pattern!r}; "
                "give each pattern a state of its own"
            )
        return cursor

    async def write(self, cursor: Cursor) -> Cursor:
        """Replace the state that *cursor* was read from. Return the cursor as it is stored.

        The server replaces only that version where it can; servers and filesystems without
        conditions are asked just before. Raises StateConflictError if it is another one.
        """
        location = await self.location()
        if (await self.read()).commit != cursor.commit:
            raise StateConflictError(location.name)
        new = replace(cursor, commit=uuid.uuid4().hex)
        data = new.to_json(self._pattern)
        if isinstance(location.fs, LocalFileSystem):
            await asyncio.to_thread(_replace_file, location.path, data)
        elif isinstance(location.fs, AvroGlobFileSystem):
            await self._replace_object(location, data, cursor)
        else:
            await call(location.fs, "pipe_file", location.path, data)
        stored = await self.read()
        if stored.commit != new.commit:
            raise StateConflictError(location.name)
        return stored

    async def _replace_object(self, location: Location, data: bytes, cursor: Cursor) -> None:
        etag = cursor.etag
        condition: dict[str, str] = {"mode": "create"} if etag is None else {"IfMatch": etag}
        try:
            await location.fs._pipe_file(location.path, data, **condition)
        except FileExistsError as error:
            raise StateConflictError(location.name) from error
        except OSError as error:
            refused = is_precondition(error.__cause__)
            if not refused and error_code(error.__cause__) != "NotImplemented":
                raise
            # The first attempt may have been stored and its response lost: the caller looks. If the
            # state is the one that was read, the server does not know the condition (Ceph 16).
            if (await self.read()).commit == cursor.commit:
                await location.fs._pipe_file(location.path, data)


def _replace_file(path: str, data: bytes) -> None:
    with atomic_path(path) as part, open(part, "wb") as file:
        file.write(data)
