"""What all commands share: options, logging, and errors that become exit codes.

The shared options may also precede the name of a command, as with the AWS CLI.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fsspec_avroglob.cli.exits import EXIT_BROKEN_PIPE, NEWLINE, report, tell
from fsspec_avroglob.cli.output import UNITS
from fsspec_avroglob.errors import printable
from fsspec_avroglob.readers.locate import is_s3_uri


@dataclass(frozen=True)
class Settings:
    """The values of the shared options.

    s3_options: storage options for S3 alone. other_options: those of ``-o``, for any filesystem.
    """

    s3_options: Mapping[str, Any]
    other_options: Mapping[str, Any]

    @classmethod
    def from_parameters(cls, **given: Any) -> Settings:
        """Turn the shared options, by parameter name, into storage options.

        Raises click.UsageError for an ``option`` that is not NAME=VALUE.
        """
        named = {name: given.get(name) for name in ("endpoint_url", "profile", "max_retries")}
        # botocore reads AWS_DEFAULT_REGION; the AWS CLI reads AWS_REGION too.
        named["region"] = given.get("region") or os.environ.get("AWS_REGION") or None
        named["anon"] = given.get("no_sign_request") or None
        s3_options = {name: value for name, value in named.items() if value is not None}
        return cls(s3_options, _parse_assignments(given.get("option", ())))

    def storage_options(self, url: str) -> dict[str, Any]:
        """Options for the filesystem that serves ``url``.

        Raises click.UsageError if ``-o`` repeats a named option with another value.
        """
        if not is_s3_uri(url):
            return dict(self.other_options)
        for name, value in self.s3_options.items():
            if self.other_options.get(name, value) != value:
                flag = "no-sign-request" if name == "anon" else name.replace("_", "-")
                raise click.UsageError(f"--{flag} and -o {name} contradict each other; give one")
        return {**self.s3_options, **self.other_options}


def _parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE``; true, false, null, ``{...}`` and ``[...]`` are read as JSON."""
    options: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-o takes NAME=VALUE, not {assignment!r}")
        value: Any = text
        if text in {"true", "false", "null"} or text[:1] in {"{", "["}:
            try:
                value = json.loads(text)
            except json.JSONDecodeError as error:
                message = f"the value of -o {name} is not valid JSON: {error}"
                raise click.UsageError(message) from error
        if options.setdefault(name, value) != value:
            raise click.UsageError(f"-o {name} is given twice with different values; give it once")
    return options


def size_in_bytes(text: str) -> int:
    """Parse a number of bytes as people write it: 512, 10K, 1.5M, 2G."""
    number, unit = text.upper().removesuffix("B").removesuffix("I"), 0
    if number[-1:] in UNITS[1:]:
        number, unit = number[:-1], UNITS.index(number[-1])
    try:
        return int(float(number) * 1024**unit)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is not a size such as 512, 10K or 1.5M") from None


_COUNT = click.IntRange(min=0)
patterns_argument = click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
schema_option = click.option(
    "--schema",
    metavar="SCHEMA",
    help="first, last, union, union_by_name, an .avsc file, or JSON.  [default: one schema]",
)
output_file = click.Path(dir_okay=False, path_type=Path)


def number_option(default: int | None) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """``-n``, as ``n_rows``."""
    names = ("-n", "--number", "n_rows")
    return click.option(
        *names, type=_COUNT, default=default, show_default=True, help="Most records."
    )


def command(*lines: str, s3: bool = True) -> Callable[[Callable[..., int]], AvroglobCommand]:
    """Make a function a command whose help ends with lines of examples; s3: it takes S3_OPTIONS."""
    return click.command(cls=AvroglobCommand, epilog=examples(*lines), s3=s3)


def examples(*lines: str) -> str:
    """An epilog that click does not rewrap."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


S3_OPTIONS = (
    click.Option(["--endpoint-url"], metavar="URL", help="S3 endpoint; or AWS_ENDPOINT_URL."),
    click.Option(["--profile"], metavar="NAME", help="AWS profile; or AWS_PROFILE."),
    click.Option(["--region"], metavar="NAME", help="AWS region; or AWS_REGION."),
    click.Option(["--no-sign-request"], is_flag=True, help="Send no credentials."),
    click.Option(
        ["--max-retries"], type=_COUNT, metavar="N", help="Retries of a request.  [default: 2]"
    ),
    click.Option(
        ["-o", "--option"], multiple=True, metavar="NAME=VALUE", help="Any other storage option."
    ),
)
LOG_OPTIONS = (
    click.Option(["-v", "--verbose"], is_flag=True, help="Log more to stderr."),
    click.Option(["--debug"], is_flag=True, help="Log everything and show tracebacks."),
)


class AvroglobCommand(click.Command):
    """A command with the shared options, which becomes `Settings`, and one way to report errors."""

    def __init__(self, *args: Any, s3: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shared = [*(S3_OPTIONS if s3 else ()), *LOG_OPTIONS]
        self.params.extend(self._shared)

    def invoke(self, ctx: click.Context) -> int:
        """Run the command's function with the settings as the context's object."""
        given = {str(option.name): ctx.params.pop(str(option.name)) for option in self._shared}
        ctx.obj = Settings.from_parameters(**given)
        try:
            with _logging_to_stderr(given["verbose"], given["debug"]):
                code: int = super().invoke(ctx)
                sys.stdout.flush()
                return code
        except BrokenPipeError:
            return broken_pipe()  # click would exit with 1, "nothing matched"
        except click.ClickException:
            raise
        except Exception as error:
            return report(error, given["debug"])


def broken_pipe() -> int:
    """Send the interpreter's last flush to nowhere, as nobody reads stdout any more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return EXIT_BROKEN_PIPE


class _Formatter(logging.Formatter):
    """Formats a message without what a terminal obeys or hides."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return printable(super().formatException(ei), keep=NEWLINE)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print the text of a warning as the command's other messages."""
    tell(printable(str(message)))


@contextlib.contextmanager
def _logging_to_stderr(verbose: bool, debug: bool) -> Iterator[None]:
    """Log to stderr while a command runs: this package's messages, all messages with --debug."""
    handler = logging.StreamHandler(sys.stderr)
    form = "%(levelname)s %(name)s: %(message)s" if debug else "avroglob: %(message)s"
    handler.setFormatter(_Formatter(form))
    root, package = logging.getLogger(), logging.getLogger("fsspec_avroglob")
    levels = (root.level, package.level)
    show_warning, warnings.showwarning = warnings.showwarning, _show_warning
    root.addHandler(handler)
    package.setLevel(logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING)
    if debug:
        root.setLevel(logging.INFO)  # botocore's DEBUG would show session tokens
    try:
        yield
    finally:
        warnings.showwarning = show_warning
        root.removeHandler(handler)
        root.setLevel(levels[0])
        package.setLevel(levels[1])
