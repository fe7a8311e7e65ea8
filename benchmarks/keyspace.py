"""Keyspaces of a synthetic bucket: ordered keys by generator, and the pages S3 would list of them.

Order and paging follow the ListObjectsV2 reference: keys ascend in UTF-8 byte order, `start_after`
is exclusive, and objects and common prefixes together count towards `max_keys`. Python compares
`str` by code point, which is the same order as UTF-8 bytes, so keys stay `str` throughout.

Implementations differ about a `start_after` inside a common prefix, with a delimiter. This one
skips the whole common prefix, as Ceph RGW does and as a continuation token does.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

LAST_CODE_POINT = "\U0010ffff"


class Listing(NamedTuple):
    """One page: `keys` and `prefixes` ascend, `next_marker` resumes after the last of both."""

    keys: list[str]
    prefixes: list[str]
    truncated: bool
    next_marker: str | None


class MadeKeys(Sequence[str]):
    """Keys in order, generated on access."""

    def __init__(self, count: int, make: Callable[[int], str]) -> None:
        """Take the number of keys, and the function from 0 to `count - 1` to a key."""
        self._numbers = range(count)
        self._make = make

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        """Return one key, or a list of the keys in a slice."""
        if isinstance(index, slice):
            return list(map(self._make, self._numbers[index]))
        return self._make(self._numbers[index])


def counters(count: int) -> Sequence[str]:
    """Return `data/` + number + `.avro` for the numbers up to `count`, in at least nine digits."""
    return MadeKeys(count, f"data/%0{max(9, len(str(count)))}d.avro".__mod__)


class Keyspace:
    """The keys of a bucket; the time of a listing grows with the page, not the bucket."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take keys in ascending code point order without duplicates; see `of` for any others."""
        self._keys = keys

    @classmethod
    def of(cls, keys: Iterable[str]) -> "Keyspace":
        """Return the keyspace of `keys`, in any order, duplicates allowed."""
        return cls(sorted(set(keys)))

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        """Tell whether `key` exists."""
        index = bisect_left(self._keys, key)
        return index < len(self._keys) and self._keys[index] == key

    def page(
        self, prefix: str = "", delimiter: str = "", start_after: str = "", max_keys: int = 1000
    ) -> Listing:
        """Return the first entries after `start_after`, at most `max_keys`, as S3 lists them."""
        if max_keys <= 0:
            return Listing([], [], False, None)
        first, stop = self._bounds(prefix, delimiter, start_after)
        if delimiter:
            return self._rolled_up(len(prefix), delimiter, first, stop, max_keys)
        keys = list(self._keys[first : min(stop, first + max_keys)])
        truncated = first + max_keys < stop
        return Listing(keys, [], truncated, keys[-1] if truncated else None)

    def _bounds(self, prefix: str, delimiter: str, start_after: str) -> tuple[int, int]:
        first = bisect_left(self._keys, prefix)
        if start_after:
            first = max(first, bisect_right(self._keys, start_after))
        stop = self._end_of(prefix, first)
        if delimiter and start_after.startswith(prefix):
            end = start_after.find(delimiter, len(prefix))
            if end >= 0:
                first = max(first, self._end_of(start_after[: end + len(delimiter)], first, stop))
        return first, max(first, stop)

    def _end_of(self, prefix: str, lo: int, hi: int | None = None) -> int:
        """Return the index after the last key that starts with `prefix`, within `lo` and `hi`."""
        hi = len(self._keys) if hi is None else hi
        head = prefix.rstrip(LAST_CODE_POINT)
        if not head:
            return hi
        return bisect_left(self._keys, head[:-1] + chr(ord(head[-1]) + 1), min(lo, hi), hi)

    def _rolled_up(self, skip: int, delimiter: str, index: int, stop: int, room: int) -> Listing:
        keys: list[str] = []
        prefixes: list[str] = []
        last, chunk = "", 8
        while index < stop and room:
            entries = self._keys[index : min(stop, index + min(chunk, room))]
            chunk *= 2  # reads runs without a common prefix in growing strides
            for key in entries:
                room -= 1
                end = key.find(delimiter, skip)
                if end < 0:
                    keys.append(key)
                    last = key
                    index += 1
                    continue
                last = key[: end + len(delimiter)]
                prefixes.append(last)
                index = self._end_of(last, index + 1, stop)
                chunk = 8
                break
        truncated = index < stop
        return Listing(keys, prefixes, truncated, last if truncated else None)


def events(years: int = 3) -> Sequence[str]:
    """Return a Hive tree: `years` from 2023 on x 12 months x 28 days x 24 hours x 4 files."""
    return [
        f"events/year={year}/month={month:02d}/day={day:02d}/hour={hour:02d}/part-{part:05d}.avro"
        for year, month, day, hour, part in product(
            range(2023, 2023 + years), range(1, 13), range(1, 29), range(24), range(4)
        )
    ]


KINDS: dict[str, Callable[[int], Sequence[str]]] = {
    "counters": counters,
    "events": events,
}


def from_spec(spec: str) -> Keyspace:
    """Return the keyspace that `"kind:number"` names: the number is of keys, or years of `events`.

    Raises ValueError for anything else.
    """
    kind, _, number = spec.partition(":")
    if kind not in KINDS or not number.isdecimal():
        raise ValueError(f"keyspace {spec!r} is not one of {', '.join(KINDS)} with ':number'")
    return Keyspace(KINDS[kind](int(number)))
