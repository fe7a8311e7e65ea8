"""The keywords of listings. s3fs ignores those that it does not know, or fails later."""

from __future__ import annotations

from collections.abc import Iterable

CONDITIONS = ("modified_after", "modified_before", "min_size", "max_size")
"""The conditions on files (see ``glob/conditions``)."""

_FIND = ("callback", "refresh", "versions", *CONDITIONS)
_KNOWN = {
    "find": _FIND,
    "glob": ("detail", "withdirs", "start_after", *_FIND),
    "iglob": CONDITIONS,
}
_NAMED = ("path", "maxdepth", "withdirs", "detail", "prefix")


def check_keywords(call: str, keywords: Iterable[str]) -> None:
    """Raise TypeError if ``find`` or ``glob`` has no such keyword."""
    for name in keywords:
        if name not in _KNOWN[call]:
            import difflib  # rarely needed

            near = difflib.get_close_matches(name, (*_KNOWN[call], *_NAMED), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}{hint}")
