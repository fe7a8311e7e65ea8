"""`ls`, `find`, `du` and `stat`: what is there, and how large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.bars import progress
from fsspec_avroglob.cli.command import (
    AvroglobCommand,
    examples,
    json_option,
    patterns_argument,
    size_in_bytes,
    size_options,
)
from fsspec_avroglob.cli.exits import EXIT_NO_MATCH, EXIT_OK, UsageProblem, fail, no_match
from fsspec_avroglob.cli.places import Info, Place, below, entries, is_absence, matches, place
from fsspec_avroglob.cli.settings import Settings

MAX_DEPTH = 32


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob ls 's3://bucket/events/year={2023,2025}/month={01..06}/*/*.avro'",
        "avroglob ls -h 's3://bucket/events/**/part-0.avro'",
        "avroglob ls --json 's3://bucket/events/*/' | jq -r .path",
        "avroglob ls --no-sign-request --region us-west-2 's3://public-bucket/*'",
        "avroglob ls --endpoint-url http://127.0.0.1:9000 's3://bucket/*'",
    ),
)
@patterns_argument
@click.option("-l", "--long", is_flag=True, help="Show size in bytes and time of modification.")
@click.option("-h", "--human-readable", is_flag=True, help="Like -l, with sizes such as 1.5K.")
@json_option
@click.pass_obj
def ls(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    long: bool,
    human_readable: bool,
    as_json: bool,
) -> int:
    """List the files and directories that match each PATTERN, sorted.

    A directory's path ends with a slash. A PATTERN without wildcards that names a directory lists
    its content. Into a pipe goes one plain path a line.
    """
    write = output.entry_writer(long or human_readable, as_json, human_readable)
    code = EXIT_OK
    for pattern in patterns:
        found = False
        for entry in entries(place(settings, pattern)):
            found = True
            write(entry)
        if not found:
            code = fail(EXIT_NO_MATCH, no_match(pattern))
    return code


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob find 's3://bucket/events/year=2025' --name '*.avro' --min-size 1M",
        "avroglob find 's3://bucket/events' --type d --max-depth 1",
        "avroglob find 's3://bucket/logs' --unsorted | head",
    ),
)
@patterns_argument
@click.option("--name", default="*", metavar="PATTERN", help="Only what has such a name.")
@click.option(
    "--type", "kind", type=click.Choice(["f", "d"]), default="f", show_default=True,
    help="Files or directories.",
)  # fmt: skip
@click.option("--max-depth", type=click.IntRange(1, MAX_DEPTH), metavar="N", help="Levels below.")
@click.option("--min-size", type=size_in_bytes, metavar="SIZE", help="Only so large files.")
@click.option(
    "--max-size", type=size_in_bytes, metavar="SIZE", help="Only files no larger than this."
)
@click.option(
    "--unsorted", is_flag=True, help="Print as pages arrive, in memory that does not grow."
)
@click.option("-l", "--long", is_flag=True, help="Show size in bytes and time of modification.")
@click.option("-h", "--human-readable", is_flag=True, help="Like -l, with sizes such as 1.5K.")
@json_option
@click.pass_obj
def find(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    name: str,
    kind: str,
    max_depth: int | None,
    min_size: int | None,
    max_size: int | None,
    unsorted: bool,
    long: bool,
    human_readable: bool,
    as_json: bool,
) -> int:
    """List all files below each PATTERN, sorted.

    What name and depth rule out is not listed either.
    """
    if "/" in name:
        raise UsageProblem("--name is about names, without a slash; put directories into PATTERN")
    write = output.entry_writer(long or human_readable, as_json, human_readable)
    low, high = min_size or 0, float("inf") if max_size is None else max_size

    def wanted(info: Info) -> bool:
        if (info["type"] == "directory") != (kind == "d"):
            return False
        return kind == "d" or low <= (info["size"] or 0) <= high

    code = EXIT_NO_MATCH
    for typed in patterns:
        at = place(settings, typed)
        found: Iterable[Info] = filter(wanted, _below(at, name, max_depth, kind == "d"))
        if not unsorted:
            with progress(f"listing {typed}", "files") as advance:
                found = sorted(_told(found, advance), key=lambda info: str(info["name"]))
        for info in found:
            code = EXIT_OK
            write(output.Entry.from_info(at.shown(info["name"]), info))
    return fail(code, no_match(*patterns)) if code else code


def _below(at: Place, name: str, max_depth: int | None, directories: bool) -> Iterator[Info]:
    """What lies below a place: one pattern, so that the listing is planned for it."""
    if max_depth:
        levels = ",".join("*/" * depth + name for depth in range(max_depth))
        tail = f"{{{levels}}}"
    else:
        tail = "**" if name == "*" else f"**/{name}"
    start = at.path.rstrip("/")
    return matches(at, f"{start}/{tail}", directories=directories)


def _told(infos: Iterable[Info], advance: Any) -> Iterator[Info]:
    for info in infos:
        advance(1)
        yield info


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob du -h s3://bucket/events",
        "avroglob du -h 's3://bucket/events/year=*'",
        "avroglob du --depth 1 --json s3://bucket | jq -s 'sort_by(.size)'",
    ),
)
@patterns_argument
@click.option(
    "-d", "--depth", type=click.IntRange(0, MAX_DEPTH), default=0, metavar="N",
    help="Tell directories so many levels below apart.  [default: 0]",
)  # fmt: skip
@size_options
@json_option
@click.pass_obj
def du(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    depth: int,
    human_readable: bool,
    as_json: bool,
) -> int:
    """Add up the sizes of the files that match each PATTERN or lie below it.

    Prints bytes, the number of files and the path, for every match of PATTERN.
    """
    totals: dict[str, list[int]] = {}
    with progress("listing", "files") as advance:
        for typed in patterns:
            at = place(settings, typed)
            segments = at.path.rstrip("/").split("/")
            level = segments.index("**") if "**" in segments else len(segments)
            for info in _told(matches(at, below(at.path), directories=False), advance):
                names = info["name"].split("/")
                group = totals.setdefault(at.shown("/".join(names[: level + depth])), [0, 0])
                group[0] += info["size"] or 0
                group[1] += 1
    if not totals:
        return fail(EXIT_NO_MATCH, no_match(*patterns))
    rows = [
        {"size": size, "files": files, "path": path}
        for path, (size, files) in sorted(totals.items())
    ]
    output.print_rows(rows, as_json, sizes=("size",) if human_readable else (), total=not as_json)
    return EXIT_OK


_HEAD_FIELDS = {
    "size": "ContentLength",
    "modified": "LastModified",
    "etag": "ETag",
    "content_type": "ContentType",
    "content_encoding": "ContentEncoding",
    "storage_class": "StorageClass",
    "version_id": "VersionId",
    "encryption": "ServerSideEncryption",
    "parts": "PartsCount",
    "metadata": "Metadata",
}


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob stat s3://bucket/events/part-0.avro",
        "avroglob stat --json 's3://bucket/events/*.avro' | jq .etag",
    ),
)
@patterns_argument
@json_option
@click.pass_obj
def stat(settings: Settings, /, patterns: tuple[str, ...], as_json: bool) -> int:
    """Show what is known of each file: size, times, ETag, storage class, metadata.

    A PATTERN with wildcards shows what the listing tells; without them the file itself is asked.
    """
    code = EXIT_OK
    for typed in patterns:
        at = place(settings, typed)
        known = list(_known(at))
        if not known:
            code = fail(EXIT_NO_MATCH, no_match(typed))
        for fields in known:
            if as_json:
                print(output.json_line(fields))
            else:
                output.print_fields(fields)
    return code


def _known(at: Place) -> Iterator[Mapping[str, Any]]:
    if at.is_pattern:
        for entry in entries(at):
            yield entry.as_dict()
        return
    try:
        if at.on_s3 and (fields := _head(at)):
            yield fields
            return
        info = at.fs.info(at.path)
        yield output.Entry.from_info(at.shown(info["name"]), info).as_dict()
    except FileNotFoundError as error:
        if not is_absence(error):
            raise


def _head(at: Place) -> dict[str, Any]:
    """What a HEAD request tells of an object; nothing where there is none of that name."""
    bucket, key, version = at.fs.split_path(at.path)
    if not key:
        return {}
    try:
        asked = {"VersionId": version} if version else {}
        head = at.fs.call_s3("head_object", Bucket=bucket, Key=key, **asked)
    except FileNotFoundError:
        return {}
    told = {name: head.get(field) for name, field in _HEAD_FIELDS.items()}
    told["etag"] = str(told["etag"] or "").strip('"')
    known = {name: value for name, value in told.items() if value not in (None, {}, "")}
    return {"path": at.shown(at.path), "type": "file", **known}
