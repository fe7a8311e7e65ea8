"""What each command does, given its settings and arguments; each returns the exit code."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsspec_avroglob.cli import output
from fsspec_avroglob.cli.errors import (
    EXIT_NO_MATCH,
    EXIT_OK,
    UsageProblem,
    explain,
    fail,
)


@dataclass(frozen=True)
class Settings:
    """The options that every command takes."""

    s3_options: Mapping[str, Any] = field(default_factory=dict)
    other_options: Mapping[str, Any] = field(default_factory=dict)
    debug: bool = False
    log_level: int = logging.WARNING

    @classmethod
    def from_parameters(
        cls,
        *,
        endpoint_url: str | None = None,
        profile: str | None = None,
        region: str | None = None,
        no_sign_request: bool = False,
        max_retries: int | None = None,
        option: Iterable[str] = (),
        verbose: bool = False,
        debug: bool = False,
    ) -> Settings:
        """Turn the values of the command line into storage options.

        Raises UsageProblem for an ``option`` that is not NAME=VALUE.
        """
        named = {
            "endpoint_url": endpoint_url,
            "profile": profile,
            # botocore reads AWS_DEFAULT_REGION, not the AWS CLI's other name for it.
            "region": region or os.environ.get("AWS_REGION") or None,
            "anon": no_sign_request or None,
            "max_retries": max_retries,
        }
        return cls(
            s3_options={name: value for name, value in named.items() if value is not None},
            other_options=_parse_assignments(option),
            debug=debug,
            log_level=logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING,
        )

    def storage_options(self, url: str) -> dict[str, Any]:
        """Options for the filesystem that serves ``url``; the named ones are for S3 alone.

        Raises UsageProblem if ``-o`` repeats a named option with another value.
        """
        from fsspec_avroglob.sources import is_s3_uri

        if not is_s3_uri(url):
            return dict(self.other_options)
        for name, value in self.s3_options.items():
            if self.other_options.get(name, value) != value:
                flag = "no-sign-request" if name == "anon" else name.replace("_", "-")
                raise UsageProblem(f"--{flag} and -o {name} contradict each other; give one")
        return {**self.s3_options, **self.other_options}


def _parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE``; true, false, null, ``{...}`` and ``[...]`` are read as JSON."""
    options: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageProblem(f"-o takes NAME=VALUE, not {assignment!r}")
        value: Any = text
        if text in {"true", "false", "null"} or text[:1] in {"{", "["}:
            try:
                value = json.loads(text)
            except json.JSONDecodeError as error:
                raise UsageProblem(f"the value of -o {name} is not valid JSON: {error}") from error
        if options.setdefault(name, value) != value:
            raise UsageProblem(f"-o {name} is given twice with different values; give it once")
    return options


def list_matches(
    settings: Settings,
    patterns: Sequence[str],
    *,
    long: bool,
    as_json: bool,
    human_readable: bool,
) -> int:
    """Print the files and directories that match each pattern; report patterns without a match."""
    write = output.entry_writer(long or human_readable, as_json, human_readable)
    code = EXIT_OK
    for pattern in patterns:
        found = False
        for entry in _entries(pattern, settings.storage_options(pattern)):
            found = True
            write(entry)
        if not found:
            code = fail(EXIT_NO_MATCH, f"nothing matches {pattern}")
    return code


def _entries(pattern: str, storage_options: dict[str, Any]) -> Iterator[output.Entry]:
    from fsspec_avroglob.sources import filesystem_for, is_glob_pattern

    fs, path = filesystem_for(pattern, storage_options)
    infos = _glob(fs, pattern, path) if is_glob_pattern(path) else _literal(fs, pattern, path)
    as_typed = _naming(pattern, fs)
    for name in sorted(infos):
        yield output.Entry.from_info(as_typed(name), infos[name])


def _glob(fs: Any, pattern: str, path: str) -> dict[str, dict[str, Any]]:
    from fsspec_avroglob.pattern import GlobPattern
    from fsspec_avroglob.sources import is_s3_uri

    if pattern.endswith("/"):
        path = f"{path.rstrip('/')}/"  # asks for directories; stripping the protocol took it away
    # Other filesystems know no braces.
    forms = [path] if is_s3_uri(pattern) else GlobPattern.parse(path).brace_free
    infos: dict[str, dict[str, Any]] = {}
    for form in forms:
        infos |= fs.glob(form, detail=True)
    return infos


def _literal(fs: Any, pattern: str, path: str) -> dict[str, dict[str, Any]]:
    """A file's own info, or those of a directory's content; none if there is neither."""
    from fsspec_avroglob.sources import is_s3_uri

    try:
        if is_s3_uri(pattern) and "/" not in path:  # a bucket, or all of them
            return {item["name"]: item for item in fs.ls(path, detail=True)}
        info = fs.info(path)
        if info["type"] != "directory":
            return {info["name"]: info}
        # A directory's marker object is listed in it, under the directory's own name.
        listed = fs.ls(path, detail=True)
        return {item["name"]: item for item in listed if item["name"].rstrip("/") != path}
    except FileNotFoundError as error:
        report = explain(error)
        if report is None or report.exit_code != EXIT_NO_MATCH:
            raise
        return {}


def _naming(pattern: str, fs: Any) -> Callable[[str], str]:
    """How to write a path that ``fs`` returned: the way that the pattern was written."""
    from fsspec_avroglob.sources import is_s3_uri

    if is_s3_uri(pattern):
        scheme = pattern.partition("://")[0]
        return lambda name: f"{scheme}://{name}"
    if "://" in pattern:
        return lambda name: str(fs.unstrip_protocol(name))
    return str if os.path.isabs(pattern) or pattern.startswith("~") else os.path.relpath


def show_schema(settings: Settings, path: str) -> int:
    """Print the Avro schema of the files that a path or pattern names, as JSON."""
    from fsspec_avroglob.avro.read import read_avro_schema

    output.print_json(read_avro_schema(path, storage_options=settings.storage_options(path)))
    return EXIT_OK


def show_head(settings: Settings, patterns: Sequence[str], *, number: int, as_json: bool) -> int:
    """Print the first records of the files that the patterns match, in order."""
    records = _records(settings, patterns, number)
    if as_json:
        for record in records:
            print(output.json_line(record))
    else:
        output.print_table([_as_row(record) for record in records])
    return EXIT_OK


def _as_row(record: Any) -> Mapping[str, Any]:
    """A record as it is; a value of a top level that is no record as the column ``value``."""
    return record if isinstance(record, Mapping) else {"value": record}


def _records(settings: Settings, patterns: Sequence[str], number: int) -> Iterator[Any]:
    from fsspec_avroglob.avro.read import iter_avro_records

    for pattern in patterns:
        options = settings.storage_options(pattern)
        with contextlib.closing(
            iter_avro_records(pattern, storage_options=options, n_rows=number)
        ) as records:
            for record in records:
                yield record
                number -= 1
        if number <= 0:
            return


def take_tour(settings: Settings, *, serve: bool, port: int | None) -> int:
    """Run the demo, or keep its endpoint running until Ctrl-C."""
    from fsspec_avroglob.cli.tour import run_tour

    if serve:
        return _serve(port or 0)
    if port is not None:
        raise UsageProblem("--port goes with --serve; the tour takes a free port")
    run_tour(output.print_tour)
    return EXIT_OK


def _serve(port: int) -> int:
    from fsspec_avroglob.demo import DemoServer, user_aws_settings_hidden, write_sample_events

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
