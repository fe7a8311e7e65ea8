"""Dates in file names: where a listing for recent files may start.

>>> order = order_of(["lake/day=2026-11-28/a.avro", "lake/day=2026-11-30/b.avro"])
>>> order
NameOrder(lead='lake/day=', form='%Y-%m-%d')
>>> order.first(dt.datetime(2026, 11, 29, 18))
'lake/day=2026-11-29'
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass

_BETWEEN = (
    r"([-_./]?(?:[A-Za-z_]+=)?)"  # year=2026/month=11/day=30, 2026/11/30, 2026-11-30, 20261130
)
_DATE = re.compile(rf"(?<!\d)((?:19|20)\d\d){_BETWEEN}(\d\d){_BETWEEN}(\d\d)")


@dataclass(frozen=True)
class NameOrder:
    """Paths that begin with a date, after the same text, so that they sort by date.

    Attributes
    ----------
    lead : str
        The text before the date.
    form : str
        The date, as for ``strftime``.
    """

    lead: str
    form: str

    def first(self, moment: dt.datetime) -> str:
        """The least path of the day of *moment*."""
        return self.lead + moment.strftime(self.form)

    def holds(self, path: str) -> bool:
        """Whether *path* begins with a date in this form."""
        found = _DATE.match(path, len(self.lead))
        return path.startswith(self.lead) and found is not None and _form(found) == self.form


def order_of(paths: Iterable[str]) -> NameOrder | None:
    """Return the order of *paths*; None if they do not all begin with a date in one form."""
    paths = list(paths)
    found = _DATE.search(paths[0]) if paths else None
    if found is None or (form := _form(found)) is None:
        return None
    order = NameOrder(paths[0][: found.start()], form)
    return order if all(map(order.holds, paths)) else None


def _form(found: re.Match[str]) -> str | None:
    """The date found as a form for ``strftime``; None if there is no such day."""
    year, between, month, between_too, day = found.groups()
    try:
        dt.date(int(year), int(month), int(day))
    except ValueError:
        return None
    return f"%Y{between}%m{between_too}%d"
