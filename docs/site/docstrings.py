"""Makes of the docstrings' Sphinx roles and lists of arguments what Markdown shows."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":[a-z]+:`~?(?:[\w.]*\.)?(\w+)`")
_ARGUMENT = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring once."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every object when it has been loaded."""
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value).replace("``", "`")
            paragraphs = text.split("\n\n")
            obj.docstring.value = "\n\n".join(_ARGUMENT.sub(r"- `\1`: ", p) for p in paragraphs)
