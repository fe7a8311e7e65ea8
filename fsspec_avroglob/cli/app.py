"""The `avroglob` command as a whole: its commands, the options before them, and how it ends."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from typing import Any

import click

from fsspec_avroglob.cli import bench, count, export, head, ls, plans, tools, transfer
from fsspec_avroglob.cli.command import (
    broken_pipe,
    examples,
    is_set,
    log_options,
    s3_options,
)
from fsspec_avroglob.cli.exits import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, fail


def run(arguments: list[str]) -> int:
    """Run a command line, given without the program's name, and return the exit code."""
    if not arguments and "_AVROGLOB_COMPLETE" not in os.environ:  # which is click's to answer
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
        # Requests under way end with the process; how they do is of no interest.
        logging.getLogger("fsspec_avroglob").setLevel(logging.CRITICAL + 1)
        return fail(EXIT_INTERRUPTED, "interrupted")
    except BrokenPipeError:
        return broken_pipe()
    return int(code or EXIT_OK)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        others = ", ".join(f"{name} {version(name)}" for name in ("fsspec", "s3fs", "fastavro"))
        print(f"avroglob {version('fsspec-avroglob')} ({others})")
        context.exit()


_EXIT_CODES = """\b
Exit codes:
  0    done
  1    nothing matched, or cp left keys out that have no place in its target
  2    usage: unknown option, invalid pattern, not an Avro file
  3    the storage refused or could not be reached
  4    check found damage, bench a difference
  130  interrupted
"""


class Commands(click.Group):
    """Commands in the order in which they were added, which is that of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(self.commands)


@click.group(
    cls=Commands,
    params=[
        *s3_options(),
        *log_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print versions and exit.",
        ),
    ],
    epilog=examples(
        "avroglob demo",
        "avroglob ls -l 's3://bucket/events/year=2025/month=0[1-3]/*/*.avro'",
        "avroglob head -n 5 's3://bucket/events/**/*.avro'",
        "avroglob schema s3://bucket/events/part-0.avro",
    )
    + "\n\n"
    + _EXIT_CODES,
)
@click.pass_context
def app(context: click.Context, /, **given: Any) -> None:
    """List and read Avro files by glob, on S3 and wherever fsspec reaches.

    Patterns know *, ?, [a-z], [!a-z], ** (any directories), {a,b} and {01..12}. Quote them, so that
    the shell leaves them alone. Credentials, region and endpoint come from where the AWS CLI takes
    them: options, AWS_* variables, ~/.aws.
    """
    context.obj = {name: value for name, value in given.items() if is_set(value)}


for _command in (
    ls.ls,
    ls.find,
    ls.du,
    ls.stat,
    transfer.cp,
    plans.explain,
    head.schema,
    head.head,
    export.cat,
    count.count,
    count.check,
    bench.bench,
    tools.demo,
    tools.completion,
):
    app.add_command(_command)
