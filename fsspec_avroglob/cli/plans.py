"""`explain` and `bench`: what a pattern costs, as planned and as measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.command import AvroglobCommand, examples, json_option
from fsspec_avroglob.cli.exits import EXIT_OK
from fsspec_avroglob.cli.places import s3_place
from fsspec_avroglob.cli.settings import Settings
from fsspec_avroglob.glob.explain import costed, counted
from fsspec_avroglob.glob.svg import GlobPlan


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob explain 's3://bucket/events/year=*/month=0[1-3]/*.avro'",
        "avroglob explain --run 's3://bucket/events/**/part-0.avro'",
        "avroglob explain --svg plan.svg 's3://bucket/{a,b*}/*.avro'",
    ),
)
@click.argument("pattern", metavar="PATTERN")
@click.option("--run", is_flag=True, help="Carry the plan out and show what each step cost.")
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write a drawing to FILE.",
)  # fmt: skip
@click.option("--mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@json_option
@click.pass_obj
def explain(
    settings: Settings, /, pattern: str, run: bool, svg: Path | None, mermaid: bool, as_json: bool
) -> int:
    """Show how PATTERN is listed: a tree of steps.

    Without --run nothing is sent to the server.
    """
    at = s3_place(settings, pattern)
    started = time.perf_counter()
    plan: GlobPlan = at.fs.explain(at.path, run=run)
    elapsed_s = time.perf_counter() - started
    if svg is not None:
        with output.whole_file(svg) as partial:
            partial.write_text(plan.to_svg(), encoding="utf-8")
    if as_json:
        for fields in _steps(plan):
            print(output.json_line(fields))
    elif mermaid:
        print(plan.to_mermaid(), end="")
    elif svg is None:
        print(plan)
        if run:
            print(f"{counted(plan.requests, 'request')} in {elapsed_s:.2f} s")
    return EXIT_OK


def _steps(plan: GlobPlan) -> list[dict[str, Any]]:
    steps = []
    for part in plan.plans:
        nodes, elsewhere = costed(part)
        for node in nodes:
            fields = {"bucket": part.bucket, "step": node.step.kind, "depth": node.depth}
            fields |= {"prefix": node.where, "enters": node.enters, "keeps": node.keeps}
            steps.append(fields | (vars(node.cost) if node.cost else {}))
        if elsewhere is not None:
            steps.append({"bucket": part.bucket, "step": "elsewhere", **vars(elsewhere)})
    return steps
