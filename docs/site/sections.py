"""Insert sections of README.md into the pages that link to them."""

import re
from typing import Any

_POINTER = re.compile(r"^\[[^]]+\]\(\.\./\.\./README\.md#([\w-]+)\)$", re.MULTILINE)


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """MkDocs calls this with the text of each page."""
    return _POINTER.sub(r'--8<-- "README.md:\1"', markdown)
