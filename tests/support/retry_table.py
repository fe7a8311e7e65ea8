"""The table of retried failures in Markdown, for docs/retries.md.

Run ``python -m tests.support.retry_table`` to print it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from fsspec_avroglob.s3.classification import RULES, Rule


def table() -> str:
    """Return the rows of RULES as a Markdown table."""
    rows = (
        f"| {rule.what} | {'; '.join(_conditions(rule))} | {rule.cause or '**final**'} |"
        for rule in RULES
    )
    return "\n".join(
        ["| what happened | how it is recognized | cause, if retried |", "|---|---|---|", *rows]
    )


def _conditions(rule: Rule) -> Iterator[str]:
    if rule.codes == "*":
        yield "any other error code or status"
    elif rule.codes:
        yield ", ".join(f"`{code}`" for code in rule.codes.split())
    if rule.statuses:
        yield "status " + ", ".join(map(str, rule.statuses))
    if rule.types:
        yield ", ".join(f"`{_qualified(kind)}`" for kind in rule.types)
    if len(rule.errnos) == len(errno.errorcode):
        yield "any other errno"
    elif rule.errnos:
        yield ", ".join(f"`{errno.errorcode[number]}`" for number in rule.errnos)
    if rule.message:
        yield "text: " + ", ".join(f"`{part}`" for part in rule.message.split("|"))


def _qualified(kind: type[BaseException]) -> str:
    module = kind.__module__.partition(".")[0]
    own = module in ("builtins", "fsspec_avroglob")
    return kind.__name__ if own else f"{module}.{kind.__name__}"


if __name__ == "__main__":
    print(table())
