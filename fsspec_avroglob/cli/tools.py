"""`demo` and `completion`."""

from __future__ import annotations

import contextlib
import shlex
import threading

import click
from click.shell_completion import get_completion_class

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.command import AvroglobCommand, examples
from fsspec_avroglob.cli.exits import EXIT_OK, UsageProblem
from fsspec_avroglob.cli.settings import Settings


@click.command(
    cls=AvroglobCommand,
    s3=False,
    epilog=examples("avroglob demo", "avroglob demo --serve --port 5555"),
)
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
    from fsspec_avroglob.cli.tour import run_tour

    if serve:
        return _serve(port or 0)
    if port is not None:
        raise UsageProblem("--port goes with --serve; the tour takes a free port")
    run_tour(output.print_tour)
    return EXIT_OK


def _serve(port: int) -> int:
    from fsspec_avroglob.cli.demo import DemoServer, user_aws_settings_hidden, write_sample_events

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(DemoServer(port))
        except OSError as error:
            raise UsageProblem(f"--port {port}: {error.strerror}") from error
        with user_aws_settings_hidden():
            sample = write_sample_events(server.storage_options)
        for name, value in server.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"avroglob ls 'avroglob://demo/events/**/*.avro'   # {sample.files} files")
        print("Serving until Ctrl-C.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return EXIT_OK


@click.command(
    cls=AvroglobCommand,
    s3=False,
    epilog=examples(
        'eval "$(avroglob completion bash)"',
        "avroglob completion fish > ~/.config/fish/completions/avroglob.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, /, shell: str) -> int:
    """Print a script by which SHELL completes avroglob's commands and options."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageProblem(f"there is no completion for {shell}")
    complete = kind(context.find_root().command, {}, "avroglob", "_AVROGLOB_COMPLETE")
    print(complete.source())
    return EXIT_OK
