"""The keywords of listings. s3fs ignores those that it does not know, or fails later."""

from __future__ import annotations

from collections.abc import Iterable

_FIND = ("callback", "refresh", "versions")
_KNOWN = {"find": _FIND, "glob": ("detail", "withdirs", "start_after", *_FIND)}
_NAMED = ("path", "maxdepth", "withdirs", "detail", "prefix")


def check_keywords(call: str, keywords: Iterable[str]) -> None:
    """Raise TypeError if ``find`` or ``glob`` has no such keyword."""
    for name in keywords:
        if name not in _KNOWN[call]:
            import difflib  # rarely needed

            near = difflib.get_close_matches(name, (*_KNOWN[call], *_NAMED), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}{hint}")
