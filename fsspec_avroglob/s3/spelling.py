"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a message about an unknown *name*: the known name most like it, if any."""
    import difflib  # rarely needed

    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""
