"""`uploads`: list and remove uploads that were begun and not finished."""

from __future__ import annotations

import datetime as dt

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.arguments import PathArgument
from fsspec_avroglob.cli.command import Settings, command, json_option
from fsspec_avroglob.cli.exits import EXIT_OK, tell
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.glob.times import duration
from fsspec_avroglob.readers.locate import is_s3_uri


def _age(context: click.Context, parameter: click.Parameter, text: str | None) -> dt.timedelta:
    try:
        return duration(text or "0s")
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@command(
    "avroglob uploads s3://bucket/events/",
    "avroglob uploads --abort --older-than 1d s3://bucket/",
)
@click.argument("prefix", metavar="PREFIX")
@click.option("--abort", is_flag=True, help="Remove the uploads and their parts.")
@click.option(
    "--older-than",
    callback=_age,
    metavar="TIME",
    help="Only uploads begun at least this long ago: 30m, 12h, 1d, 2w.",
)
@json_option
@click.pass_obj
def uploads(
    settings: Settings, /, prefix: str, abort: bool, older_than: dt.timedelta, as_json: bool
) -> int:
    """List the uploads that were begun and not finished, of keys that begin with PREFIX.

    A process that is killed while it writes a large file leaves one. It is no object, but its parts
    are stored and cost money. With --abort, an upload that is still being written fails: use
    --older-than too.
    """
    if not is_s3_uri(prefix):
        raise click.UsageError(f"{prefix} is not on S3; write it as s3://bucket/prefix")
    fs = PathArgument.of(settings, prefix).fs
    # The typed prefix, because a slash at its end counts.
    found = (fs.abort_uploads if abort else fs.uploads)(prefix, older_than=older_than)
    for upload in found:
        path = f"s3://{upload.path}"
        begun = upload.begun.astimezone(dt.UTC).isoformat(timespec="seconds")
        if as_json:
            print(output.json_line({"path": path, "upload_id": upload.upload_id, "begun": begun}))
        else:
            print(begun, output.shown(path), output.shown(upload.upload_id), sep="\t")
    if not as_json:
        tell(f"{counted(len(found), 'upload')}{' removed' if abort else ''}")
    return EXIT_OK
