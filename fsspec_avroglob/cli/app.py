"""The `avroglob` command: its subcommands, the options that precede them, and its exit code."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from typing import Any

import click

from fsspec_avroglob.cli import cat, count, cp, head, ls, new, plans, tour, uploads
from fsspec_avroglob.cli.command import LOG_OPTIONS, S3_OPTIONS, broken_pipe, examples
from fsspec_avroglob.cli.exits import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, fail


def run(arguments: list[str]) -> int:
    """Run a command line, given without the program's name, and return the exit code."""
    if not arguments and "_AVROGLOB_COMPLETE" not in os.environ:  # click completes
        print(app.get_help(click.Context(app, info_name="avroglob")), file=sys.stderr)
        return EXIT_USAGE
    try:
        code = app.main(args=arguments, prog_name="avroglob", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"\nTry: {context.command_path} --help" if context else ""
        return fail(EXIT_USAGE, error.format_message() + hint)
    except click.Abort:
        # Requests in flight end with the process; do not report how.
        logging.getLogger("fsspec_avroglob").setLevel(logging.CRITICAL + 1)
        return fail(EXIT_INTERRUPTED, "interrupted")
    except BrokenPipeError:
        return broken_pipe()
    return int(code or EXIT_OK)


_LIBRARIES = ", ".join(f"{name} {version(name)}" for name in ("fsspec", "s3fs", "fastavro"))
_VERSION = f"avroglob {version('fsspec-avroglob')} ({_LIBRARIES})"
_EXIT_CODES = """\b
Exit codes:
  0    done
  1    nothing matched, or cp skipped keys that its target cannot hold
  2    usage: unknown option, invalid pattern, not an Avro file
  3    the storage refused or could not be reached
  4    check found damage
  130  interrupted
"""
_EXAMPLES = examples(
    "avroglob demo",
    "avroglob ls -l 's3://bucket/events/year=2025/month=0[1-3]/*/*.avro'",
    "avroglob head -n 5 's3://bucket/events/**/*.avro'",
    "avroglob schema s3://bucket/events/part-0.avro",
)


@click.group(params=[*S3_OPTIONS, *LOG_OPTIONS], epilog=f"{_EXAMPLES}\n\n{_EXIT_CODES}")
@click.version_option(_VERSION, message="%(version)s", help="Print versions and exit.")
@click.pass_context
def app(context: click.Context, /, **shared: Any) -> None:
    """List and read Avro files by glob, on S3 and on any other fsspec filesystem.

    Patterns know *, ?, [a-z], [!a-z], ** (any directories), {a,b} and {01..12}. Quote them, so that
    the shell leaves them alone. Credentials, region and endpoint come from the AWS CLI's sources:
    options, AWS_* variables, ~/.aws.
    """
    context.default_map = dict.fromkeys(app.commands, shared)


for _command in (
    *(cat.cat, count.check, count.count, cp.cp, ls.du, plans.explain, ls.find, head.head, ls.ls),
    *(new.new, head.schema, ls.stat, tour.demo, uploads.uploads),
):
    app.add_command(_command)
