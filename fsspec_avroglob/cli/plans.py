"""`explain`: how a pattern is listed, as text or a drawing."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.arguments import PathArgument
from fsspec_avroglob.cli.command import Settings, command, output_file
from fsspec_avroglob.cli.exits import EXIT_OK
from fsspec_avroglob.glob.explain import counted
from fsspec_avroglob.glob.svg import GlobPlan
from fsspec_avroglob.readers.locate import is_s3_uri


@command(
    "avroglob explain 's3://bucket/events/year=*/month=0[1-3]/*.avro'",
    "avroglob explain --run 's3://bucket/events/**/part-0.avro'",
    "avroglob explain --svg plan.svg 's3://bucket/{a,b*}/*.avro'",
)
@click.argument("pattern", metavar="PATTERN")
@click.option("--run", is_flag=True, help="Run the plan and show the cost of each step.")
@click.option("--svg", type=output_file, metavar="FILE", help="Write a drawing to FILE.")
@click.option("--mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@click.pass_obj
def explain(settings: Settings, /, pattern: str, run: bool, svg: Path | None, mermaid: bool) -> int:
    """Show how PATTERN is listed: a tree of steps.

    Without --run, sends nothing to the server.
    """
    if not is_s3_uri(pattern):
        raise click.UsageError(f"{pattern} is not on S3; write it as s3://bucket/key")
    argument = PathArgument.of(settings, pattern)
    started = time.perf_counter()
    plan: GlobPlan = argument.fs.explain(argument.path, run=run)
    elapsed_s = time.perf_counter() - started
    if svg is not None:
        with output.whole_file(svg) as partial:
            partial.write_text(plan.to_svg(), encoding="utf-8")
    if mermaid:
        print(plan.to_mermaid(), end="")
    elif svg is None:
        print(plan)
        if run:
            print(f"{counted(plan.requests, 'request')} in {elapsed_s:.2f} s")
    return EXIT_OK
