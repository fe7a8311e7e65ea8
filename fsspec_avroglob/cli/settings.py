"""The options that every command takes, as storage options."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fsspec_avroglob.cli.exits import UsageProblem


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
        from fsspec_avroglob.readers.locate import is_s3_uri

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
