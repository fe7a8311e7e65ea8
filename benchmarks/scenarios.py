"""What the listing benchmark measures: patterns over generated buckets, and the package's goals."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

OWN = "avroglob"
OWN_ITERATOR = "avroglob-iglob"
ALL = (OWN, "obstore", "pyarrow", "boto3", "s3fs")
COMPILED = (OWN, "obstore", "obstore-arrow", "pyarrow")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
MILLION = SIZES[-1]
BUCKETS = {
    "lake": "events:3",
    "small": "counters:10",
    **{f"keys-{count}": f"counters:{count}" for count in SIZES},
}
REQUEST_LATENCY_S = 0.03
PAGE_SIZE = 1000

Measure = Literal["requests", "wall_s", "cpu_s", "peak_memory_bytes", "first_match_s"]


@dataclass(frozen=True)
class Goal:
    """A bound on a figure of this package: `limit`, or `limit` times what `of` names.

    `of` is None, "latency" (of one request), a tool in the same scenario, or the name of another
    scenario (this package's own figure there).
    """

    measure: Measure
    limit: float
    of: str | None = None


@dataclass(frozen=True)
class Scenario:
    """One pattern over one bucket, listed by several tools, each in a process of its own.

    group: the plots it belongs to. latency_s: how long the endpoint delays each answer. repeat: how
    often one process lists it, for medians of short times. rounds: how often each tool takes its
    turn; the round with the least CPU time counts, as other processes can only add to it.
    """

    name: str
    group: Literal["patterns", "keys", "small", "memory"]
    bucket: str
    pattern: str
    tools: tuple[str, ...] = ALL
    latency_s: float = REQUEST_LATENCY_S
    detail: bool = False
    repeat: int = 1
    rounds: int = 1
    goals: tuple[Goal, ...] = ()

    @property
    def title(self) -> str:
        """The name and the latency."""
        latency = f"{self.latency_s * 1000:g} ms a request" if self.latency_s else "no latency"
        return f"{self.name}, {latency}"

    @property
    def keys(self) -> int:
        """The number of keys in the bucket."""
        kind, _, number = BUCKETS[self.bucket].partition(":")
        return int(number) * (12 * 28 * 24 * 4 if kind == "events" else 1)

    @property
    def flat_keys(self) -> int:
        """The number of keys that every tool must see: all of one directory, 0 for a tree."""
        return self.keys if BUCKETS[self.bucket].startswith("counters:") else 0


PATTERNS = tuple(
    Scenario(name, "patterns", "lake", f"events/{pattern}", goals=goals)
    for name, pattern, goals in (
        (
            "one hour of every month",
            "year=2024/month=*/day=01/hour=00/*.avro",
            (Goal("requests", 13), Goal("wall_s", 5, "latency")),
        ),
        (
            "one file of every hour",
            "year=*/month=12/day=28/*/part-00000.avro",
            (Goal("requests", 8),),
        ),
        ("one day", "year=2024/month=03/day=07/hour=*/*.avro", (Goal("requests", 3),)),
        (
            "alternatives",
            "year={2023,2025}/month=0[1-3]/day=01/hour=00/*.avro",
            (Goal("requests", 6),),
        ),
    )
)
SMALL = Scenario(
    "ten files", "small", "small", "data/*.avro", repeat=25, goals=(Goal("wall_s", 1, "s3fs"),)
)
SMALL_LOCAL = replace(SMALL, name="ten files, local", latency_s=0.0)


def directory(count: int, latency_s: float = REQUEST_LATENCY_S) -> Scenario:
    """Return the listing of one directory of `count` keys."""
    return Scenario(f"{count:,} keys", "keys", f"keys-{count}", "data/*", latency_s=latency_s)


REMOTE = replace(directory(MILLION), goals=(Goal("wall_s", 0.2, "obstore"),))
NAMES = replace(
    directory(MILLION, 0.0),
    name="1,000,000 names",
    tools=(*COMPILED, "boto3", "s3fs"),
    rounds=3,
    goals=(Goal("cpu_s", 0.5, "obstore"),),
)
DETAIL = replace(
    NAMES,
    name="1,000,000 details",
    tools=(OWN, "obstore", "pyarrow"),
    detail=True,
    goals=(Goal("cpu_s", 1.0, "obstore"),),
)
SELECTIVE = replace(
    NAMES,
    name="1 % of 1,000,000 names",
    tools=COMPILED,
    pattern="data/*77.avro",
    goals=(Goal("cpu_s", 1.0, NAMES.name),),
)
ITERATED = replace(
    directory(MILLION),
    name="1,000,000 keys, iterated",
    group="memory",
    tools=(OWN_ITERATOR,),
    goals=(Goal("peak_memory_bytes", 64 << 20), Goal("first_match_s", 2, "latency")),
)


def full() -> Iterator[Scenario]:
    """Yield everything that is measured, in about a quarter of an hour."""
    yield from (*PATTERNS, SMALL, SMALL_LOCAL, REMOTE, NAMES, DETAIL, SELECTIVE, ITERATED)
    for count in SIZES[:-1]:
        yield from (directory(count), directory(count, 0.0))


def quick() -> Iterator[Scenario]:
    """Yield what answers every goal, in less than two minutes."""
    yield from PATTERNS
    yield replace(SMALL, repeat=15)
    yield replace(REMOTE, tools=(OWN, "obstore"))
    for scenario in (NAMES, DETAIL, SELECTIVE):
        yield replace(scenario, tools=(OWN, "obstore"), rounds=2)
    yield ITERATED
    yield from (directory(10_000), directory(10_000, 0.0))
