"""What a listing has cost so far, and what walking alone and listing flat would have cost at least.

Both ways of listing are bounded from below by what has been read: a page of new keys is one that
listing flat would have sent as well, and a directory that was listed, or met on a page, is one that
walking would have listed. While the requests sent are at most twice either bound and a few more,
they are at most that many times the cheaper way, whatever is still to come. And one of the two can
always go on: a page of a scan raises the one bound by one, the listing of a directory the other.
"""

from __future__ import annotations

from fsspec_avroglob.s3.page import Page

FACTOR = 2
"""How many times the requests of the cheaper way a listing may take."""

SLACK = 3
"""Requests beyond that, beside one for each segment of the pattern."""


class Ledger:
    """The account of one run of a pattern of *depth* segments.

    walked: requests that walking would have sent at least. keys: keys that are known to exist, each
    counted once. page_size: entries of a full page, 0 while none was seen. unanswered: entries that
    are read again where directories whose names are known are looked into by shared pages. owed:
    requests that follow where the pages that are being scanned save none.
    """

    def __init__(self, depth: int) -> None:
        self.walked = 0
        self.keys = 0
        self.page_size = 0
        self.unanswered = 0
        self.owed = 0
        self._slack = depth + SLACK
        self._guesses = depth
        self._expected = 0
        self._sent = 0

    @property
    def flat(self) -> int:
        """Requests that listing flat takes at least."""
        return -(-self.keys // self.page_size) if self.page_size else 1

    def sends(self) -> None:
        """Take in that a request is sent."""
        self._sent += 1

    def receives(self, page: Page) -> None:
        """Take in its answer. Which of the page's keys are new is for the caller to say."""
        if page.next_token is not None:
            self.page_size = max(self.page_size, page.key_count)

    def expects(self, requests: int) -> None:
        """Take in that so many are certain to be sent soon; less than 0 as they are about to be."""
        self._expected += requests

    def may_walk(self, requests: int = 1) -> bool:
        """Whether directories may be listed, so many, even if they turn out to hold few keys.

        Those that are unanswered then are so by full pages.
        """
        size = max(self.page_size, 1)
        answers = -(-self.unanswered // size) if self.unanswered >= size else 0
        flat = self._left(self.flat) - requests - answers
        return flat >= 0 or (flat > self._left(self.walked) - 1 < 0)

    def may_scan(self, requests: int = 1) -> bool:
        """Whether pages may be read, so many, even if they save no listing of a directory."""
        walked = self._left(self.walked) - requests - self.owed
        return walked >= 0 or (walked >= self._left(self.flat) - 1 < 0)

    def may_guess(self, names: int) -> bool:
        """Whether directories of so many stated names may be listed, even if but one exists.

        Then accounts for those that do not.
        """
        if names - 1 > self._guesses or min(map(self._left, (self.flat, 1))) < names:
            return names == 1
        self._guesses -= names - 1
        self.walked -= names - 1
        return True

    def _left(self, least: int) -> int:
        """Requests that may be sent where another way would take *least* or more."""
        return FACTOR * max(least, 1) + self._slack - self._sent - self._expected
