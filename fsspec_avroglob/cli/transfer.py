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
from pathlib import Path
from typing import Any, Literal

import click
from fsspec.callbacks import Callback

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.command import AvroglobCommand, examples, json_option
from fsspec_avroglob.cli.errors import EXIT_NO_MATCH, EXIT_OK, UsageProblem, fail
from fsspec_avroglob.cli.locate import Info, Place, below, matches, place, system_for
from fsspec_avroglob.cli.progress import Advance, progress
from fsspec_avroglob.cli.settings import Settings
from fsspec_avroglob.tasks import for_each

_AT_ONCE = 16
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


@dataclass(frozen=True)
class Copy:
    """A file to be copied: where from, where to, and what the listing says of it."""

    at: Place
    source: str
    target: Path
    size_bytes: int | None
    etag: str | None


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
    of TARGET. A file appears when it is complete and has the size that was listed; where the ETag
    is an MD5 sum, that is compared as well.
    """
    if "://" in target and not target.startswith(("file://", "local://")):
        raise UsageProblem(f"cp copies to local files; {target} is none")
    copies: list[Copy] = []
    for source in sources:
        found = list(_copies(place(settings, source), _local(target), recursive, flat))
        if not found:
            return fail(EXIT_NO_MATCH, f"nothing matches {source}")
        copies += found
    _refuse_collisions(copies)
    if skip_existing:
        copies = [copy for copy in copies if not _is_there(copy)]
    if not dry_run:
        total = sum(copy.size_bytes or 0 for copy in copies)
        with progress(f"copying {len(copies):,} files", "bytes", total=total) as advance:
            checked = asyncio.run(_carry_out(settings, copies, advance))
    for copy in copies:
        how = {} if dry_run else {"checked": checked[copy.target]}
        shown = copy.at.shown(copy.source)
        if as_json:
            print(output.json_line({"source": shown, "target": str(copy.target), **how}))
        elif dry_run:
            print(f"{shown} -> {copy.target}")
    if not as_json and not dry_run:
        size = output.human_size(sum(copy.size_bytes or 0 for copy in copies))
        print(f"{len(copies):,} files, {size}, checked", file=sys.stderr)
    return EXIT_OK


def _local(target: str) -> str:
    return re.sub(r"^(file|local)://", "", target)


# --- what goes where -----------------------------------------------------------------------------


def _copies(at: Place, target: str, recursive: bool, flat: bool) -> Iterator[Copy]:
    if not at.is_pattern:
        info = at.fs.info(at.path)
        if info["type"] != "directory":
            directory = target.endswith(("/", os.sep)) or os.path.isdir(target)
            name = os.path.basename(info["name"])
            yield _copy(at, info, _inside(Path(target), name) if directory else Path(target))
            return
        if not recursive:
            raise UsageProblem(f"{at.typed} is a directory; copy what lies below it with -r")
    if os.path.exists(target) and not os.path.isdir(target):
        raise UsageProblem(f"{target} is a file; several files need a directory")
    pattern = below(at.path) if recursive else at.path
    start = _literal_directory(at.path)
    for info in matches(at, pattern, directories=False):
        name = info["name"]
        relative = name.rpartition("/")[2] if flat else name[len(start) :]
        if not name.endswith("/"):  # a directory's marker object
            yield _copy(at, info, _inside(Path(target), relative))


def _copy(at: Place, info: Info, target: Path) -> Copy:
    return Copy(at, info["name"], target, info.get("size"), info.get("ETag"))


def _literal_directory(path: str) -> str:
    """The part of a pattern up to the last slash before its first wildcard."""
    magic = re.search(r"[*?\[{]", path)
    if magic is None:
        return path.rstrip("/") + "/"
    return path[: path.rfind("/", 0, magic.start()) + 1]


def _inside(target: Path, relative: str) -> Path:
    """Where *relative* is to be put below *target*. Raises UsageProblem if that is outside."""
    parts = relative.split("/")
    unfit = {"", ".", ".."}
    if os.sep != "/":
        unfit |= {part for part in parts if os.sep in part or ":" in part}
    if unfit & set(parts) or "\0" in relative:
        raise UsageProblem(
            f"the key {relative!r} has no place below {target}; copy it alone, to a name you choose"
        )
    path = target.joinpath(*parts)
    # A link that lies in the target may lead out of it.
    if not path.parent.resolve().is_relative_to(target.resolve()):
        raise UsageProblem(f"{path.parent} leads out of {target}; nothing is written there")
    return path


def _refuse_collisions(copies: list[Copy]) -> None:
    """Refuse two files of one name, and a file where another one needs a directory."""
    by_target: dict[Path, Copy] = {}
    for copy in copies:
        other = by_target.setdefault(copy.target, copy)
        if other.source != copy.source:
            raise UsageProblem(
                f"{copy.source} and {other.source} would both be {copy.target}; "
                "leave --flat out, or copy them to different directories"
            )
    for copy in copies:
        for parent in copy.target.parents:
            if parent in by_target:
                raise UsageProblem(
                    f"{parent} would be a file ({by_target[parent].source}) and a directory "
                    f"({copy.source}); copy them to different directories"
                )


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
    target.parent.mkdir(parents=True, exist_ok=True)
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
