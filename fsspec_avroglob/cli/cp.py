"""`cp`: copy many files to a local directory; each appears only when complete and checked."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import click
from fsspec.callbacks import Callback

from fsspec_avroglob.aio.blocking import blocking
from fsspec_avroglob.aio.tasks import collect
from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.arguments import Info, PathArgument, below
from fsspec_avroglob.cli.command import Settings, command, json_option
from fsspec_avroglob.cli.exits import EXIT_NO_MATCH, EXIT_OK, EXIT_REFUSED, fail, no_match
from fsspec_avroglob.filesystem.atomic import atomic_path
from fsspec_avroglob.filesystem.targets import Targets
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.glob.magic import literal_directory

_AT_ONCE = 16
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class Copy(NamedTuple):
    """A file to copy.

    source: its path on the filesystem. shown: the path as the user would write it. etag: empty
    except on S3. size_bytes: as listed, None if the filesystem does not state it.
    """

    fs: Any
    source: str
    shown: str
    local: str
    size_bytes: int | None
    etag: str


@command(
    "avroglob cp 's3://bucket/events/year=2025/**/*.avro' data/",
    "avroglob cp s3://bucket/events/part-0.avro part.avro",
    "avroglob cp -r s3://bucket/events data/",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target", metavar="TARGET")
@click.option("-r", "--recursive", is_flag=True, help="Also copy the files below directories.")
@click.option("-n", "--dry-run", is_flag=True, help="Only print what would be copied.")
@click.option("--skip-existing", is_flag=True, help="Skip files that exist with the same size.")
@json_option
@click.pass_obj
def cp(
    settings: Settings,
    /,
    sources: tuple[str, ...],
    target: str,
    recursive: bool,
    dry_run: bool,
    skip_existing: bool,
    as_json: bool,
) -> int:
    """Copy the files that match each SOURCE to the local TARGET.

    If SOURCE names one file without wildcards, TARGET is the new file, unless TARGET is a directory
    or ends with a slash. Otherwise TARGET is a directory, created if missing, and keeps the
    directories below the literal part of SOURCE. cp writes nothing outside of TARGET: it skips keys
    that TARGET cannot hold, names them and exits with 1. A file appears, and replaces an existing
    one, when it is complete and has the listed size; if the ETag is an MD5 sum, cp compares it too.
    """
    if "://" in target and not target.startswith(("file://", "local://")):
        raise click.UsageError(f"cp copies to local files, and {target} is not local")
    target = re.sub(r"^(file|local)://", "", target)
    found: dict[str, Copy] = {}
    for source in sources:
        copies = list(_copies(PathArgument.of(settings, source), target, recursive))
        if not copies:
            return fail(EXIT_NO_MATCH, no_match(source))
        found |= {copy.shown: copy for copy in copies}
    targets = Targets.on_disk(_root(target), {name: copy.local for name, copy in found.items()})
    if not dry_run:
        targets.make_directories()
    copies = [found[name] for name in targets.files]
    if skip_existing:
        copies = [
            copy
            for copy in copies
            if not os.path.isfile(copy.local) or os.path.getsize(copy.local) != copy.size_bytes
        ]
    checked = [""] * len(copies) if dry_run else _copy_all(copies)
    for copy, what in zip(copies, checked, strict=True):
        fields = {"source": copy.shown, "target": str(Path(copy.local))}
        if as_json:
            print(output.json_line(fields | ({"checked": what} if what else {})))
        elif dry_run:
            print(output.shown("{source} -> {target}".format(**fields)))
    if not (dry_run or as_json):
        size = output.human_size(sum(copy.size_bytes or 0 for copy in copies))
        print(f"{counted(len(copies), 'file')}, {size}, checked", file=sys.stderr)
    for name, reason in targets.refused.items():
        fail(EXIT_REFUSED, f"not copied: {name!r}: {reason}")
    return EXIT_REFUSED if targets.refused else EXIT_OK


def _copies(argument: PathArgument, target: str, recursive: bool) -> Iterator[Copy]:
    def copy(info: Info, local: str) -> Copy:
        name, etag = info["name"], info.get("ETag") if argument.is_s3 else None
        return Copy(argument.fs, name, argument.shown(name), local, info.get("size"), etag or "")

    root, path = _root(target), argument.path
    if not argument.is_pattern:
        info = argument.fs.info(path)
        if info["type"] != "directory":
            inside = target.endswith(("/", os.sep)) or os.path.isdir(target)
            yield copy(info, f"{root}/{info['name'].rpartition('/')[2]}" if inside else root)
            return
        if not recursive:
            raise click.UsageError(f"{argument.typed} is a directory; copy its files with -r")
    if os.path.exists(target) and not os.path.isdir(target):
        raise click.UsageError(f"{target} is a file; several files need a directory")
    pattern = below(path) if recursive else path
    start = len(literal_directory(path) if argument.is_pattern else path.rstrip("/") + "/")
    for info in sorted(argument.matches(pattern, directories=False), key=itemgetter("name")):
        if not info["name"].endswith("/"):  # the marker object of a directory
            yield copy(info, f"{root}/{info['name'][start:]}")


def _root(target: str) -> str:
    return Path(target).as_posix().rstrip("/")


def _copy_all(copies: list[Copy]) -> list[str]:
    """Copy files concurrently; return what was checked of each. Leaves no partial file behind."""
    what, total = f"copying {counted(len(copies), 'file')}", sum(c.size_bytes or 0 for c in copies)
    with output.progress(what, "bytes", total) as advance:

        async def one(copy: Copy) -> str:
            fs, callback = copy.fs, Callback()
            callback.relative_update = advance  # one bar for all files
            with atomic_path(copy.local) as partial:
                if fs.async_impl:
                    await fs._get_file(copy.source, partial, callback=callback)
                else:
                    await asyncio.to_thread(fs.get_file, copy.source, partial, callback=callback)
                return await _check(copy, Path(partial))

        return blocking(collect, copies, one, _AT_ONCE)


async def _check(copy: Copy, partial: Path) -> str:
    """Compare a copy with the listing; return what was compared. Raises OSError if they differ."""
    size = partial.stat().st_size
    if copy.size_bytes is None:
        return "nothing"
    if size != copy.size_bytes:
        raise OSError(
            errno.EIO,
            f"got {size:,} bytes instead of the {copy.size_bytes:,} that were listed; the file has "
            "changed, copy it again",
            copy.source,
        )
    md5 = _MD5.fullmatch(copy.etag)
    if md5 is None:
        return "size"
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    if digest.hexdigest() == md5[1]:
        return "size, md5"
    # Encryption with keys of KMS or the customer makes an ETag that is no MD5 sum.
    bucket, key, _ = copy.fs.split_path(copy.source)
    head = await copy.fs._call_s3("head_object", Bucket=bucket, Key=key)
    encrypted = str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
    if head.get("ETag") == copy.etag and (encrypted or "SSECustomerAlgorithm" in head):
        return "size"
    raise OSError(
        errno.EIO, f"the copy does not have the listed MD5 sum {md5[1]}; copy it again", copy.source
    )
