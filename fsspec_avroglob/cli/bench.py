"""`bench`: a glob timed on the user's own bucket, here and in s3fs, with its requests counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import click

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.bars import progress
from fsspec_avroglob.cli.command import AvroglobCommand, examples, json_option
from fsspec_avroglob.cli.exits import EXIT_FOUND, EXIT_OK, fail
from fsspec_avroglob.cli.places import s3_place
from fsspec_avroglob.cli.settings import Settings
from fsspec_avroglob.glob.pattern import GlobPattern


@click.command(
    cls=AvroglobCommand,
    epilog=examples(
        "avroglob bench 's3://bucket/events/year=*/month=01/*.avro'",
        "avroglob bench --repeat 5 --timeout 600 's3://bucket/**/*.avro'",
    ),
)
@click.argument("pattern", metavar="PATTERN")
@click.option("--repeat", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N",
    help="Runs of each; the fastest counts.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=60.0,
    show_default=True, metavar="SECONDS", help="Give up on a run after so long.")  # fmt: skip
@json_option
@click.pass_obj
def bench(settings: Settings, /, pattern: str, repeat: int, timeout: float, as_json: bool) -> int:
    """Time the glob PATTERN against s3fs on your own bucket, and count the requests.

    Both list the bucket: every run costs requests. Braces, which s3fs does not know, are written
    out for it.
    """
    at = s3_place(settings, pattern)
    options = {**settings.storage_options(pattern), "skip_instance_cache": True}
    rows = asyncio.run(_compare(at.path, options, repeat, timeout))
    results = [row.pop("paths") for row in rows]
    output.print_rows(rows, as_json)
    if all(found is not None for found in results) and results[0] != results[1]:
        return fail(EXIT_FOUND, "the two found different paths; please report this")
    return EXIT_OK


async def _compare(
    path: str, options: dict[str, Any], repeat: int, timeout_s: float
) -> list[dict[str, Any]]:
    from s3fs import S3FileSystem

    from fsspec_avroglob.filesystem.core import AvroGlobFileSystem

    planned = AvroGlobFileSystem(**options, asynchronous=True)
    # s3fs knows fewer names of options than this package does.
    plain = S3FileSystem(**_for_s3fs(planned), asynchronous=True, skip_instance_cache=True)
    forms = {planned: [path], plain: GlobPattern.parse(path).brace_free}
    names = {planned: "avroglob", plain: "s3fs"}
    with progress(f"globbing {path}", "files", total=2 * repeat) as advance:
        rows = []
        for fs in (planned, plain):
            best = await _best_of(fs, forms[fs], repeat, timeout_s, advance)
            rows.append({"tool": names[fs], **best})
        return rows


_SHARED = ("endpoint_url", "key", "secret", "token", "anon", "profile", "client_kwargs")


def _for_s3fs(fs: Any) -> dict[str, Any]:
    """Where the bucket is and who asks, without what this package sets for itself."""
    options = fs.config.s3fs_options()
    return {name: options[name] for name in _SHARED if name in options}


async def _best_of(
    fs: Any, forms: Any, repeat: int, timeout_s: float, advance: Any
) -> dict[str, Any]:
    """The fastest of several runs; one that is cut off ends them."""
    sent: Counter[str] = Counter()
    session = await fs.set_session()

    def count(request: Any, event_name: str, **_: Any) -> None:
        sent[event_name.rpartition(".")[2]] += 1

    session.meta.events.register("before-send.s3", count)
    best: dict[str, Any] = {}
    try:
        for _ in range(repeat):
            fs.invalidate_cache()
            sent.clear()
            started, cpu = time.perf_counter(), time.process_time()
            try:
                async with asyncio.timeout(timeout_s):
                    found = {path for form in forms for path in await fs._glob(form)}
            except TimeoutError:
                return _figures(None, sent, timeout_s, time.process_time() - cpu)
            elapsed_s = time.perf_counter() - started
            advance(1)
            if not best or elapsed_s < best["seconds"]:
                best = _figures(found, sent, elapsed_s, time.process_time() - cpu)
    finally:
        await session.close()
    return best


def _figures(
    paths: set[str] | None, sent: Counter[str], elapsed_s: float, cpu_s: float
) -> dict[str, Any]:
    requests = ", ".join(f"{number:,} {name}" for name, number in sorted(sent.items()))
    return {
        "paths": paths,
        "matches": None if paths is None else len(paths),
        "requests": requests + ("" if paths is not None else " until cut off"),
        "seconds": round(elapsed_s, 3),
        "cpu_seconds": round(cpu_s, 3),
    }
