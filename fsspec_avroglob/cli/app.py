"""The commands' options and help texts, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import click

from fsspec_avroglob.cli import commands
from fsspec_avroglob.cli.commands import Settings
from fsspec_avroglob.cli.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    explain,
    fail,
)


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
        return _broken_pipe()
    return int(code or EXIT_OK)


def _broken_pipe() -> int:
    """Let the interpreter's last flush write to nowhere, since nobody reads any more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return EXIT_BROKEN_PIPE


def _examples(*lines: str) -> str:
    """An epilog that click does not rewrap."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def _s3_options() -> list[click.Option]:
    """Options of every command that reaches S3, named as the AWS CLI names them."""
    option = click.Option
    return [
        option(["--endpoint-url"], metavar="URL", help="S3 endpoint; or AWS_ENDPOINT_URL."),
        option(["--profile"], metavar="NAME", help="AWS profile; or AWS_PROFILE."),
        option(["--region"], metavar="NAME", help="AWS region; or AWS_REGION."),
        option(["--no-sign-request"], is_flag=True, help="Send no credentials."),
        option(
            ["--max-retries"],
            type=click.IntRange(min=0),
            metavar="N",
            help="Retries of a request after its first attempt.  [default: 2]",
        ),
        option(
            ["-o", "--option"],
            multiple=True,
            metavar="NAME=VALUE",
            help="Any other storage option; may be repeated.",
        ),
    ]


def _log_options() -> list[click.Option]:
    return [
        click.Option(["-v", "--verbose"], is_flag=True, help="Log more to stderr."),
        click.Option(["--debug"], is_flag=True, help="Log everything and show tracebacks."),
    ]


class AvroglobCommand(click.Command):
    """A command that takes the shared options as `Settings` and reports errors in one way.

    The shared options may stand before the command's name too, as with the AWS CLI.
    """

    def __init__(self, *args: Any, s3: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shared = [*(_s3_options() if s3 else ()), *_log_options()]
        self._shared = [option.name for option in shared if option.name]
        self.params.extend(shared)

    def invoke(self, ctx: click.Context) -> int:
        """Run the command's function with the settings as the context's object."""
        here = {name: ctx.params.pop(name) for name in self._shared}
        given = {**(ctx.obj or {}), **{name: value for name, value in here.items() if _set(value)}}
        try:
            ctx.obj = Settings.from_parameters(**given)
            with _logging_to_stderr(ctx.obj):
                code: int = super().invoke(ctx)
                sys.stdout.flush()
                return code
        except BrokenPipeError:
            return _broken_pipe()  # click's own handling would exit with 1, "nothing matched"
        except click.ClickException:
            raise
        except Exception as error:
            report = explain(error)
            if report is None or given.get("debug"):
                traceback.print_exc()
            if report is None:
                return fail(EXIT_BUG, "this is a bug; please report it with the lines above")
            return fail(report.exit_code, report.message)


class AvroglobGroup(click.Group):
    """The group that makes its commands of `AvroglobCommand`."""

    command_class = AvroglobCommand


def _set(value: object) -> bool:
    """Whether a parameter was given; 0 retries were."""
    return value is not None and value is not False and value != ()


@contextlib.contextmanager
def _logging_to_stderr(settings: Settings) -> Iterator[None]:
    """Log to stderr while a command runs: this package's messages, everybody's with --debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("avroglob: %(message)s"))
    root, package = logging.getLogger(), logging.getLogger("fsspec_avroglob")
    levels = (root.level, package.level)
    root.addHandler(handler)
    package.setLevel(settings.log_level)
    if settings.debug:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root.setLevel(logging.INFO)  # botocore's DEBUG would show session tokens
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        package.setLevel(levels[1])


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        others = ", ".join(f"{name} {version(name)}" for name in ("fsspec", "s3fs", "fastavro"))
        print(f"avroglob {version('fsspec-avroglob')} ({others})")
        context.exit()


_EXIT_CODES = """\b
Exit codes:
  0    done
  1    nothing matched
  2    usage: unknown option, invalid pattern, not an Avro file
  3    the storage refused or could not be reached
  130  interrupted
"""


@click.group(
    cls=AvroglobGroup,
    params=[
        *_s3_options(),
        *_log_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print versions and exit.",
        ),
    ],
    epilog=_examples(
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
    context.obj = {name: value for name, value in given.items() if _set(value)}


def _patterns(function: Callable[..., int]) -> Callable[..., int]:
    return click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")(function)


@app.command(
    epilog=_examples(
        "avroglob ls 's3://bucket/events/year={2023,2025}/month={01..06}/*/*.avro'",
        "avroglob ls -h 's3://bucket/events/**/part-0.avro'",
        "avroglob ls --json 's3://bucket/events/*/' | jq -r .path",
        "avroglob ls --no-sign-request --region us-west-2 's3://public-bucket/*'",
        "avroglob ls --endpoint-url http://127.0.0.1:9000 's3://bucket/*'",
    )
)
@_patterns
@click.option("-l", "--long", is_flag=True, help="Show size in bytes and time of modification.")
@click.option("-h", "--human-readable", is_flag=True, help="Like -l, with sizes such as 1.5K.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def ls(settings: Settings, /, patterns: tuple[str, ...], **given: Any) -> int:
    """List the files and directories that match each PATTERN, sorted.

    A directory's path ends with a slash. A PATTERN without wildcards that names a directory lists
    its content. Into a pipe goes one plain path a line.
    """
    return commands.list_matches(settings, patterns, **given)


@app.command(
    epilog=_examples(
        "avroglob schema s3://bucket/events/part-0.avro",
        "avroglob schema 'data/*.avro' | jq '.fields[].name'",
    )
)
@click.argument("path", metavar="PATH")
@click.pass_obj
def schema(settings: Settings, /, path: str) -> int:
    """Print the Avro schema of PATH as JSON.

    PATH may be a pattern: the headers of all its files are read and compared, and the schema of the
    first is printed.
    """
    return commands.show_schema(settings, path)


@app.command(
    epilog=_examples(
        "avroglob head -n 3 's3://bucket/events/year=2025/**/*.avro'",
        "avroglob head -n 100 --json data.avro | jq -c .user",
    )
)
@_patterns
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="How many records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def head(settings: Settings, /, patterns: tuple[str, ...], **given: Any) -> int:
    """Print the first records of the files that match each PATTERN."""
    return commands.show_head(settings, patterns, **given)


@app.command(s3=False, epilog=_examples("avroglob demo", "avroglob demo --serve --port 5555"))
@click.option("--serve", is_flag=True, help="Keep the endpoint and its data until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="TCP port for --serve.  [default: a free one]",
)
@click.pass_obj
def demo(settings: Settings, /, serve: bool, port: int | None) -> int:
    """Take a tour on an S3 endpoint inside this process (extra: demo).

    Writes sample Avro files, globs them, reads them into pandas and shows what it cost. Leaves
    nothing behind and does not read your AWS settings.
    """
    return commands.take_tour(settings, serve=serve, port=port)
