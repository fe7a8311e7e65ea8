"""Convert the Sphinx roles and lists of arguments of docstrings to Markdown."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":[a-z]+:`~?(?:[\w.]*\.)?(\w+)`")
_ARGUMENT = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Convert every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Griffe calls this for every loaded object."""
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value).replace("``", "`")
            paragraphs = text.split("\n\n")
            obj.docstring.value = "\n\n".join(_ARGUMENT.sub(r"- `\1`: ", p) for p in paragraphs)
