"""Dates in file names: where a listing for recent files may start.

>>> order = order_of("lake/day=2026-11-28/a.avro")
>>> order
NameOrder(lead='lake/day=', form='%Y-%m-%d')
>>> order.first(dt.datetime(2026, 11, 29, 18))
'lake/day=2026-11-29'
"""

from __future__ import annotations

import datetime as dt
import re
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

    def day(self, path: str) -> dt.date | None:
        """The date that *path* begins with; None if it begins with none in this form."""
        found = _DATE.match(path, len(self.lead)) if path.startswith(self.lead) else None
        day = None if found is None else _day(found)
        return day if found is not None and _form(found) == self.form else None


def order_of(path: str) -> NameOrder | None:
    """Return the order of paths such as *path*; None if it holds no date."""
    found = _DATE.search(path)
    if found is None or _day(found) is None:
        return None
    return NameOrder(path[: found.start()], _form(found))


def _form(found: re.Match[str]) -> str:
    """The form of the date found, as for ``strftime``."""
    return f"%Y{found[2]}%m{found[4]}%d"


def _day(found: re.Match[str]) -> dt.date | None:
    """The date found; None if there is no such day."""
    try:
        return dt.date(int(found[1]), int(found[3]), int(found[5]))
    except ValueError:
        return None
