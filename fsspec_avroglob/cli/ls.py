"""`ls`, `find`, `du` and `stat`: names, sizes and metadata of files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.arguments import Info, PathArgument, below
from fsspec_avroglob.cli.command import (
    Settings,
    command,
    json_option,
    patterns_argument,
    size_in_bytes,
)
from fsspec_avroglob.cli.exits import EXIT_NO_MATCH, EXIT_OK, exit_code, fail, no_match
from fsspec_avroglob.glob.conditions import FileConditions, moment

MAX_DEPTH = 32


def _condition(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    try:
        return None if text is None else moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_newer_option = click.option(
    "--newer-than",
    "modified_after",
    metavar="TIME",
    callback=_condition,
    help="Only files modified after a UTC time (2026-11-30T12:00) or since (12h, 2d ago).",
)
_older_option = click.option(
    "--older-than",
    "modified_before",
    metavar="TIME",
    callback=_condition,
    help="Only files modified before that.",
)
_long_option = click.option("-l", "--long", is_flag=True, help="Show size in bytes and time.")
_short_option = click.option("-h", "--human-readable", "short", is_flag=True, help="Short sizes.")


@command(
    "avroglob ls 's3://bucket/events/year={2023,2025}/month={01..06}/*/*.avro'",
    "avroglob ls -h 's3://bucket/events/**/part-0.avro'",
    "avroglob ls --json 's3://bucket/events/*/' | jq -r .path",
    "avroglob ls --no-sign-request --region us-west-2 's3://public-bucket/*'",
    "avroglob ls --endpoint-url http://127.0.0.1:9000 's3://bucket/*'",
)
@patterns_argument
@_newer_option
@_older_option
@_long_option
@_short_option
@json_option
@click.pass_obj
def ls(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    modified_after: dt.datetime | None,
    modified_before: dt.datetime | None,
    **form: bool,
) -> int:
    """List the files and directories that match each PATTERN, sorted.

    A directory's path ends with a slash. A PATTERN without wildcards that names a directory lists
    its content. In a pipe, prints one plain path per line.
    """
    wanted = None
    if modified_after or modified_before:
        wanted = FileConditions(modified_after, modified_before).holds
    code = EXIT_OK
    for pattern in patterns:
        found = False
        for fields in PathArgument.of(settings, pattern).entries(wanted):
            found = True
            output.print_entry(fields, **form)
        if not found:
            code = fail(EXIT_NO_MATCH, no_match(pattern))
    return code


@command(
    "avroglob find 's3://bucket/events/year=2025' --name '*.avro' --min-size 1M",
    "avroglob find 's3://bucket/events' --max-depth 1",
)
@patterns_argument
@click.option("--name", default="*", metavar="PATTERN", help="Only these names.")
@click.option("--max-depth", type=click.IntRange(1, MAX_DEPTH), metavar="N", help="Levels below.")
@click.option("--min-size", type=size_in_bytes, metavar="SIZE", help="Only files from this size.")
@click.option("--max-size", type=size_in_bytes, metavar="SIZE", help="Only files up to this size.")
@_newer_option
@_older_option
@_long_option
@_short_option
@json_option
@click.pass_obj
def find(
    settings: Settings,
    /,
    patterns: tuple[str, ...],
    name: str,
    max_depth: int | None,
    min_size: int | None,
    max_size: int | None,
    modified_after: dt.datetime | None,
    modified_before: dt.datetime | None,
    **form: bool,
) -> int:
    """List all files below each PATTERN, sorted.

    Directories deeper than --max-depth are not listed.
    """
    if "/" in name:
        raise click.UsageError("--name takes no slash; put directories into PATTERN")
    wanted = FileConditions(modified_after, modified_before, min_size, max_size).holds
    code = EXIT_NO_MATCH
    for typed in patterns:
        argument = PathArgument.of(settings, typed)
        pattern = _below(argument.path, name, max_depth)
        found = filter(wanted, argument.matches(pattern, directories=False))
        with output.progress(f"listing {typed}", "files") as advance:
            infos = sorted(_advancing(found, advance), key=itemgetter("name"))
        for info in infos:
            code = EXIT_OK
            output.print_entry(output.entry(argument.shown(info["name"]), info), **form)
    return fail(code, no_match(*patterns)) if code else code


def _below(path: str, name: str, max_depth: int | None) -> str:
    """One pattern for the files below a path, so that the listing is planned for it."""
    tail = "**" if name == "*" else f"**/{name}"
    if max_depth:
        tail = "{" + ",".join("*/" * depth + name for depth in range(max_depth)) + "}"
    return f"{path.rstrip('/')}/{tail}"


def _advancing(infos: Iterable[Info], advance: output.Advance) -> Iterator[Info]:
    for info in infos:
        advance(1)
        yield info


@command(
    "avroglob du -h s3://bucket/events",
    "avroglob du -h 's3://bucket/events/year=*'",
    "avroglob du --json 's3://bucket/*' | jq -s 'sort_by(.size)'",
)
@patterns_argument
@_short_option
@json_option
@click.pass_obj
def du(settings: Settings, /, patterns: tuple[str, ...], short: bool, as_json: bool) -> int:
    """Add up the sizes of the files that match each PATTERN or lie below it.

    Prints bytes, the number of files and the path, for every match of PATTERN.
    """
    totals: dict[str, list[int]] = {}
    with output.progress("listing", "files") as advance:
        for typed in patterns:
            argument = PathArgument.of(settings, typed)
            segments = argument.path.rstrip("/").split("/")
            level = segments.index("**") if "**" in segments else len(segments)
            infos = argument.matches(below(argument.path), directories=False)
            for info in _advancing(infos, advance):
                group = "/".join(info["name"].split("/")[:level])
                total = totals.setdefault(argument.shown(group), [0, 0])
                total[0] += info["size"] or 0
                total[1] += 1
    if not totals:
        return fail(EXIT_NO_MATCH, no_match(*patterns))
    rows = [
        {"size": size, "files": files, "path": path}
        for path, (size, files) in sorted(totals.items())
    ]
    output.print_rows(rows, as_json, sizes=["size"] if short else [], total=True)
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


@command(
    "avroglob stat s3://bucket/events/part-0.avro",
    "avroglob stat --json 's3://bucket/events/*.avro' | jq .etag",
)
@patterns_argument
@json_option
@click.pass_obj
def stat(settings: Settings, /, patterns: tuple[str, ...], as_json: bool) -> int:
    """Show the metadata of each file: size, times, ETag, storage class, user metadata.

    For a PATTERN with wildcards, shows the fields of the listing; otherwise asks for the file.
    """
    code = EXIT_OK
    for typed in patterns:
        found = _metadata(PathArgument.of(settings, typed))
        if not found:
            code = fail(EXIT_NO_MATCH, no_match(typed))
        for fields in found:
            if as_json:
                print(output.json_line(fields))
            else:
                output.print_fields(fields)
    return code


def _metadata(argument: PathArgument) -> list[dict[str, Any]]:
    if argument.is_pattern:
        return list(argument.entries())
    if argument.is_s3 and (fields := _head(argument)):
        return [fields]
    try:
        info = argument.fs.info(argument.path)
    except FileNotFoundError as error:
        if exit_code(error) != EXIT_NO_MATCH:
            raise
        return []
    return [output.entry(argument.shown(info["name"]), info)]


def _head(argument: PathArgument) -> dict[str, Any]:
    """The fields of a HEAD request; empty if there is no object of this name."""
    bucket, key, version = argument.fs.split_path(argument.path)
    if not key:
        return {}
    try:
        more = {"VersionId": version} if version else {}
        head = argument.fs.call_s3("head_object", Bucket=bucket, Key=key, **more)
    except FileNotFoundError:
        return {}
    fields = {name: head.get(field) for name, field in _HEAD_FIELDS.items()}
    fields["etag"] = str(fields["etag"] or "").strip('"')
    known = {name: value for name, value in fields.items() if value not in (None, {}, "")}
    return {"path": argument.shown(argument.path), "type": "file", **known}
