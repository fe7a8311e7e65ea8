"""What all commands have in common: shared options, logging, and errors that become exit codes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import click

from fsspec_avroglob.cli.exits import EXIT_BROKEN_PIPE, EXIT_BUG, explain, fail
from fsspec_avroglob.cli.output import UNITS
from fsspec_avroglob.cli.settings import Settings


def broken_pipe() -> int:
    """Let the interpreter's last flush write to nowhere, since nobody reads any more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return EXIT_BROKEN_PIPE


def examples(*lines: str) -> str:
    """An epilog that click does not rewrap."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def s3_options() -> list[click.Option]:
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


def log_options() -> list[click.Option]:
    """Options of every command about what it tells on stderr."""
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
        shared = [*(s3_options() if s3 else ()), *log_options()]
        self._shared = [option.name for option in shared if option.name]
        self.params.extend(shared)

    def invoke(self, ctx: click.Context) -> int:
        """Run the command's function with the settings as the context's object."""
        here = {name: ctx.params.pop(name) for name in self._shared}
        given = {
            **(ctx.obj or {}),
            **{name: value for name, value in here.items() if is_set(value)},
        }
        try:
            ctx.obj = Settings.from_parameters(**given)
            with _logging_to_stderr(ctx.obj):
                code: int = super().invoke(ctx)
                sys.stdout.flush()
                return code
        except BrokenPipeError:
            return broken_pipe()  # click's own handling would exit with 1, "nothing matched"
        except click.ClickException:
            raise
        except Exception as error:
            report = explain(error)
            if report is None or given.get("debug"):
                traceback.print_exc()
            if report is None:
                return fail(EXIT_BUG, "this is a bug; please report it with the lines above")
            return fail(report.exit_code, report.message)


def is_set(value: object) -> bool:
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


def patterns_argument(function: Callable[..., int]) -> Callable[..., int]:
    """Let a command take any number of patterns."""
    return click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")(function)


def json_option(function: Callable[..., int]) -> Callable[..., int]:
    """Let a command print JSON lines."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")(
        function
    )


def size_options(function: Callable[..., int]) -> Callable[..., int]:
    """Let a command print sizes in short."""
    return click.option("-h", "--human-readable", is_flag=True, help="Print sizes such as 1.5K.")(
        function
    )


def size_in_bytes(text: str) -> int:
    """A number of bytes as people write it: 512, 10K, 1.5M, 2G."""
    number, unit = text.upper().removesuffix("B").removesuffix("I"), 0
    if number[-1:] in UNITS[1:]:
        number, unit = number[:-1], UNITS.index(number[-1])
    try:
        return int(float(number) * 1024**unit)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not a size such as 512, 10K or 1.5M") from None
