"""Insert the help of every command into the page with the mark."""

from collections.abc import Iterator
from typing import Any

import click

from fsspec_avroglob.cli.app import app

_MARK = "<!-- the help of every command -->"


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """MkDocs calls this with the text of each page."""
    return markdown.replace(_MARK, "\n".join(_sections())) if _MARK in markdown else markdown


def _sections() -> Iterator[str]:
    whole = click.Context(app, info_name="avroglob", terminal_width=80)
    yield f"## avroglob\n\n```text\n{app.get_help(whole)}\n```\n"
    for name, command in app.commands.items():
        context = click.Context(command, parent=whole, info_name=name, terminal_width=80)
        yield f"## avroglob {name}\n\n```text\n{command.get_help(context)}\n```\n"
