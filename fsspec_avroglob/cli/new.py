"""`new`: the files of a glob that are new since the last commit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
from fsspec.core import split_protocol

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.command import Settings, command, json_option
from fsspec_avroglob.cli.exits import EXIT_OK, fail, tell
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.readers.incremental import IncrementalGlob
from fsspec_avroglob.readers.locate import is_s3_uri


@command(
    "avroglob new 's3://lake/day=*/*.avro' --state s3://jobs/events.json",
    "avroglob new 's3://lake/day=*/*.avro' --state s3://jobs/events.json --run 'xargs ./load.sh'",
)
@click.argument("pattern", metavar="PATTERN")
@click.option("--state", required=True, metavar="URL", help="The file that holds what was done.")
@click.option("--commit", is_flag=True, help="Mark the files as done once they are printed.")
@click.option(
    "--run",
    metavar="COMMAND",
    help="Give the names to a shell command on its standard input; mark the files as done if it "
    "succeeds.",
)
@click.option("--max-files", type=click.IntRange(1), metavar="N", help="Most files, oldest first.")
@click.option("--lookback", default="1h", show_default=True, metavar="TIME", help="Longest upload.")
@click.option(
    "--late",
    default="2d",
    show_default=True,
    metavar="TIME",
    help="How late files may come for the date in their names; 'any' to list all names.",
)
@json_option
@click.pass_obj
def new(
    settings: Settings,
    /,
    pattern: str,
    state: str,
    commit: bool,
    run: str | None,
    max_files: int | None,
    lookback: str,
    late: str,
    as_json: bool,
) -> int:
    """Print the files that match PATTERN and were added or changed since the last commit.

    The oldest come first. Without --commit or --run, the next call prints them again. With --run,
    each file is processed at least once: if the command fails, or is interrupted, the next call
    gives it the same files. --commit does not wait for what reads the names.
    """
    if commit and run is not None:
        raise click.UsageError("--commit and --run exclude each other; --run commits by itself")
    try:
        glob = IncrementalGlob(
            pattern,
            state,
            storage_options=_options(settings, pattern, state),
            lookback=lookback,
            late=None if late == "any" else late,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    glob.new(max_files=max_files)
    lines = [_line(file, as_json) for file in glob.files]
    if run is None:
        for line in lines:
            print(line)
    elif lines:
        names = "".join(f"{line}\n" for line in lines)
        ended = subprocess.run(run, shell=True, input=names, text=True, check=False)
        if ended.returncode:
            return fail(1, f"{run!r} ended with {ended.returncode}; nothing is marked as done")
    if commit or run is not None:
        sys.stdout.flush()
        tell(f"{counted(glob.commit(), 'file')} marked as done in {output.shown(state)}")
    return EXIT_OK


def _line(file: Any, as_json: bool) -> str:
    if not as_json:
        return output.shown(file.name)
    modified = file.modified.isoformat(timespec="seconds")
    return output.json_line({"path": file.name, "size": file.size, "modified": modified})


def _options(settings: Settings, pattern: str, state: str) -> dict[str, Any]:
    """The storage options of both, by protocol if they are on different filesystems."""
    if is_s3_uri(pattern) == is_s3_uri(state):
        return settings.storage_options(pattern)
    other = split_protocol(state if is_s3_uri(pattern) else pattern)[0] or "file"
    return {"s3": settings.storage_options("s3://"), other: dict(settings.other_options)}
