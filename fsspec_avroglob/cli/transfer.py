"""`cp`: many files to a local directory, each complete and checked before it appears."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import click
from fsspec.callbacks import Callback

from fsspec_avroglob.aio.tasks import for_each
from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.bars import Advance, progress
from fsspec_avroglob.cli.command import AvroglobCommand, examples, json_option
from fsspec_avroglob.cli.exits import (
    EXIT_NO_MATCH,
    EXIT_OK,
    EXIT_REFUSED,
    UsageProblem,
    fail,
    no_match,
)
from fsspec_avroglob.cli.places import Info, Place, below, matches, place, system_for
from fsspec_avroglob.cli.settings import Settings
from fsspec_avroglob.filesystem.download import Targets
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.glob.magic import is_glob_pattern, literal_directory

_AT_ONCE = 16
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


@dataclass(frozen=True)
class Copy:
    """A file to be copied: where from, where to, and what the listing says of it.

    local: the local path that the source's name gives, as yet unchecked.
    """

    at: Place
    source: str
    local: str
    size_bytes: int | None
    etag: str | None

    @property
    def target(self) -> Path:
        """The local file."""
        return Path(self.local)

    @property
    def shown(self) -> str:
        """The source as its user writes it."""
        return self.at.shown(self.source)


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob cp 's3://bucket/events/year=2025/**/*.avro' data/",
        "avroglob cp s3://bucket/events/part-0.avro part.avro",
        "avroglob cp -r s3://bucket/events data/",
    ),
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target", metavar="TARGET")
@click.option("-r", "--recursive", is_flag=True, help="Copy what lies below directories too.")
@click.option("--flat", is_flag=True, help="Put all files into TARGET itself, by their names.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option("--skip-existing", is_flag=True, help="Leave files that have the same size alone.")
@json_option
@click.pass_obj
def cp(
    settings: Settings,
    /,
    sources: tuple[str, ...],
    target: str,
    recursive: bool,
    flat: bool,
    dry_run: bool,
    skip_existing: bool,
    as_json: bool,
) -> int:
    """Copy the files that match each SOURCE to the local TARGET.

    One file that SOURCE names without wildcards goes to the file TARGET, or into it where it is a
    directory or ends with a slash. Otherwise TARGET is a directory, made where it is missing, and
    keeps the directories below the part of SOURCE that has no wildcards. Nothing is written outside
    of TARGET: keys that stand for no file of their own there are named and left out, and the exit
    code is 1. A file appears when it is complete and has the size that was listed; where the ETag
    is an MD5 sum, that is compared as well. It replaces a file that is there.
    """
    if "://" in target and not target.startswith(("file://", "local://")):
        raise UsageProblem(f"cp copies to local files; {target} is none")
    target = _local(target)
    found: dict[str, Copy] = {}
    for source in sources:
        copies = list(_copies(place(settings, source), target, recursive, flat))
        if not copies:
            return fail(EXIT_NO_MATCH, no_match(source))
        found |= {copy.shown: copy for copy in copies}
    targets = Targets.on_disk(_root(target), {name: copy.local for name, copy in found.items()})
    if not dry_run:
        targets.make_directories()
    copies = [found[name] for name in targets.files]
    if skip_existing:
        copies = [copy for copy in copies if not _is_there(copy)]
    if not dry_run:
        total = sum(copy.size_bytes or 0 for copy in copies)
        with progress(f"copying {counted(len(copies), 'file')}", "bytes", total=total) as advance:
            checked = asyncio.run(_carry_out(settings, copies, advance))
    for copy in copies:
        how = {} if dry_run else {"checked": checked[copy.target]}
        if as_json:
            print(output.json_line({"source": copy.shown, "target": str(copy.target), **how}))
        elif dry_run:
            print(f"{copy.shown} -> {copy.target}")
    if not as_json and not dry_run:
        size = output.human_size(sum(copy.size_bytes or 0 for copy in copies))
        print(f"{counted(len(copies), 'file')}, {size}, checked", file=sys.stderr)
    for name, reason in targets.refused.items():
        fail(EXIT_REFUSED, f"not copied: {name!r}: {reason}")
    return EXIT_REFUSED if targets.refused else EXIT_OK


def _local(target: str) -> str:
    return re.sub(r"^(file|local)://", "", target)


def _root(target: str) -> str:
    return Path(target).as_posix().rstrip("/")


# --- what goes where -----------------------------------------------------------------------------


def _copies(at: Place, target: str, recursive: bool, flat: bool) -> Iterator[Copy]:
    if not at.is_pattern:
        info = at.fs.info(at.path)
        if info["type"] != "directory":
            directory = target.endswith(("/", os.sep)) or os.path.isdir(target)
            name = info["name"].rpartition("/")[2]
            yield _copy(at, info, f"{_root(target)}/{name}" if directory else _root(target))
            return
        if not recursive:
            raise UsageProblem(f"{at.typed} is a directory; copy what lies below it with -r")
    if os.path.exists(target) and not os.path.isdir(target):
        raise UsageProblem(f"{target} is a file; several files need a directory")
    pattern = below(at.path) if recursive else at.path
    start = _literal_directory(at.path)
    for info in sorted(matches(at, pattern, directories=False), key=itemgetter("name")):
        name = info["name"]
        relative = name.rpartition("/")[2] if flat else name[len(start) :]
        if not name.endswith("/"):  # a directory's marker object
            yield _copy(at, info, f"{_root(target)}/{relative}")


def _copy(at: Place, info: Info, local: str) -> Copy:
    return Copy(at, info["name"], local, info.get("size"), info.get("ETag"))


def _literal_directory(path: str) -> str:
    """The part of a pattern up to the last slash before its first wildcard."""
    return literal_directory(path) if is_glob_pattern(path) else path.rstrip("/") + "/"


def _is_there(copy: Copy) -> bool:
    return copy.target.is_file() and copy.target.stat().st_size == copy.size_bytes


# --- copying -------------------------------------------------------------------------------------

Checked = Literal["size", "size, md5", "nothing"]


class _Told(Callback):  # type: ignore[misc]  # fsspec has no types
    """Passes the bytes of a file on to the bar for all files."""

    def __init__(self, advance: Advance) -> None:
        super().__init__()
        self._advance = advance

    def relative_update(self, inc: int = 1) -> None:
        self._advance(inc)


async def _carry_out(
    settings: Settings, copies: list[Copy], advance: Advance
) -> Mapping[Path, Checked]:
    """Copy all, many at once. What is under way at an error or Ctrl-C leaves nothing behind."""
    checked: dict[Path, Checked] = {}
    async with AsyncExitStack() as sessions:
        systems = {}
        for typed in {copy.at.typed for copy in copies}:
            systems[typed] = await system_for(settings, typed, sessions)

        async def one(copy: Copy) -> None:
            checked[copy.target] = await _copy_one(systems[copy.at.typed], copy, advance)

        await for_each(copies, one, _AT_ONCE)
    return checked


async def _copy_one(fs: Any, copy: Copy, advance: Advance) -> Checked:
    target = copy.target
    with output.whole_file(target) as partial:
        if fs.async_impl:
            await fs._get_file(copy.source, str(partial), callback=_Told(advance))
        else:
            fs.get_file(copy.source, str(partial), callback=_Told(advance))
        return await _check(fs, copy, partial)


async def _check(fs: Any, copy: Copy, partial: Path) -> Checked:
    """Hold what was copied against what was listed. Raises OSError where they differ."""
    size = partial.stat().st_size
    if copy.size_bytes is None:
        return "nothing"
    if size != copy.size_bytes:
        raise OSError(
            errno.EIO,
            f"{size:,} bytes came instead of the {copy.size_bytes:,} that were listed; "
            "the file has changed meanwhile, copy it again",
            copy.source,
        )
    md5 = _MD5.fullmatch(copy.etag or "") if copy.at.on_s3 else None
    if md5 is None:
        return "size"
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    if digest.hexdigest() == md5[1]:
        return "size, md5"
    if await _has_other_etag(fs, copy):
        return "size"
    raise OSError(
        errno.EIO,
        f"what came does not have the MD5 sum {md5[1]} that was listed; copy it again",
        copy.source,
    )


async def _has_other_etag(fs: Any, copy: Copy) -> bool:
    """Whether the object is encrypted in a way by which its ETag is no MD5 sum."""
    bucket, key, _ = fs.split_path(copy.source)
    head = await fs._call_s3("head_object", Bucket=bucket, Key=key)
    encrypted = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
    return head.get("ETag") == copy.etag and (encrypted or "SSECustomerAlgorithm" in head)
