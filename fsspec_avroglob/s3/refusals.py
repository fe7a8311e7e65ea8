"""Refused requests by the level they were sent at: which refusals fewer requests would avoid."""

from __future__ import annotations

from collections.abc import Iterator
from math import frexp, inf

FRESH = 512
"""Answers after which what was seen at a level no longer counts."""

MEMORY = 64
"""About so many answers of an octave make up its share of refused ones."""

ENOUGH, ENOUGH_REFUSED = 16, 3
"""Answers, and refused ones among them, that say something about a level."""

MOST = 0.6
"""The largest share of requests that is taken for refused at any level."""

LEAST = 0.004
"""The least share that is."""

DOUBTFUL = 0.4
"""The share up to which refusals at a lowered level may be those that come at any level."""

MORE, MOST_EXCESS = 0.1, 5.0
"""What the share may exceed a known background by, and for how many refusals more than that."""

MOST_DOUBTFUL = 2.0
"""How many refusals more than by DOUBTFUL are awaited before it is judged what they are due to."""


LONGEST_SPACING_S = 1.0
"""What counts of the seconds between two answers: the rest is the caller's own pause."""

MUCH_LESS = 1.5
"""The factor by which requests must have become fewer before it is judged whether that helped."""


class _Answers:
    """Answers to requests sent at about one level."""

    __slots__ = ("count", "last", "levels", "refused", "seconds")

    def __init__(self) -> None:
        self.count = self.refused = self.levels = self.seconds = 0.0
        self.last = 0

    def add(self, level: float, seconds: float, refused: bool, now: int) -> bool:
        """Count one; True when older ones have been halved."""
        self.count += 1
        self.levels += level
        self.seconds += min(seconds, LONGEST_SPACING_S)
        self.refused += refused
        self.last = now
        if self.count < 2 * MEMORY:
            return False
        self.count /= 2
        self.levels /= 2
        self.seconds /= 2
        self.refused /= 2
        return True

    @property
    def share(self) -> float:
        """The share of them that was refused."""
        return self.refused / self.count

    @property
    def level(self) -> float:
        """Their mean level."""
        return self.levels / self.count

    @property
    def rate(self) -> float:
        """Requests a second: not in step with the level where the client sends fewer."""
        return self.count / max(self.seconds, 1e-9)


class Refusals:
    """Tells refusals by a server's limits from those that come whatever the level is.

    Where a server takes so many requests at once or a second, half the level means twice the share
    of accepted ones, until nothing is refused. Where it refuses by chance, the share stays. So
    after each cut the shares above and below are compared, by octaves of the level. What remains
    is the *background*; only what exceeds it (by a CUSUM test) is a sign of a limit then.

    A level is what the request window was when a request was sent. Nothing here knows the time.

    background: the share of requests that is refused at any level.
    """

    def __init__(self) -> None:
        self.background = 0.0
        self._octaves: dict[int, _Answers] = {}
        self._now = 0
        self._excess = 0.0
        self._doubt = False

    def note(self, level: float, seconds: float, *, refused: bool) -> None:
        """Count the answer to a request sent at *level*, *seconds* after the answer before it."""
        self._now += 1
        octave = frexp(level)[1]
        answers = self._octaves.get(octave)
        if answers is None or not self._fresh(answers):
            answers = self._octaves[octave] = _Answers()
        halved = answers.add(level, seconds, refused, self._now)
        if self._excess or refused:
            usual = 1.3 * self.background + MORE if self.background else DOUBTFUL
            self._excess = max(0.0, self._excess + refused - usual)
        if halved and answers.share < self.background / 2:
            self.background = self.background / 2 if self.background > LEAST else 0.0

    def cut(self, level: float) -> None:
        """The level is cut from *level*: what is refused from now on tells whether that helps."""
        self._excess = 0.0
        self._doubt = True
        if level > 1:
            # A server that allows bursts has accepted until now what it would not at length.
            self._octaves.pop(frexp(level)[1], None)

    def ask_for_less(self, level: float, known: float) -> bool:
        """Whether the refusal just noted, at *level*, is a sign that less should be sent.

        known: the level that is believed to fit.
        """
        above = next(self._above(level), None) if self._doubt else None
        due = None if above is None else self._due_to_level(level, above)
        if due is not None:
            self._doubt = False
            self._excess = 0.0
            return due
        if self.background:
            return self._excess > MOST_EXCESS
        return above is None or level > known or level <= 1 or self._excess > MOST_DOUBTFUL

    def limit_above(self, level: float) -> float:
        """What is accepted where, above *level*, more than the background was refused, or inf."""
        accepted = 1 - self.background
        return next(
            (
                answers.level * (1 - answers.share) / accepted
                for answers in self._above(level)
                if 1 - answers.share < 0.75 * accepted
            ),
            inf,
        )

    def _due_to_level(self, level: float, above: _Answers) -> bool | None:
        """Whether refusals at *level* are due to it, as far as can be said; sets the background."""
        here = self._octaves[frexp(level)[1]]
        if here.count < ENOUGH or here.refused < ENOUGH_REFUSED:
            return None
        less = min(above.level / here.level, above.rate / here.rate)
        if less < MUCH_LESS:
            return None
        accepted_above = 1 - above.share
        # If the level were the reason, lowering it would have brought this.
        accepted = accepted_above * less
        if (
            here.share > MOST
            or here.share > 1.5 * above.share + 0.1
            or self._is_clean_below(level, here.share)
            or (accepted < 1.3 and 1 - here.share > (accepted_above + min(1.0, accepted)) / 2)
        ):
            self.background = 0.0
            return True
        if above.share < here.share + 0.1:
            self.background = (here.refused + above.refused) / (here.count + above.count)
        else:
            self.background = here.share
        return False

    def _is_clean_below(self, level: float, share: float) -> bool:
        """Whether far less than *share* was refused at some lower level."""
        octave = frexp(level)[1]
        return any(
            known < octave
            and self._fresh(answers)
            and answers.count * share >= ENOUGH_REFUSED
            and answers.share < share / 3
            for known, answers in self._octaves.items()
        )

    def _above(self, level: float) -> Iterator[_Answers]:
        """What was answered at higher levels, the nearest first."""
        octave = frexp(level)[1]
        for known, answers in sorted(self._octaves.items()):
            if known > octave and self._fresh(answers) and answers.count >= ENOUGH / 2:
                yield answers

    def _fresh(self, answers: _Answers) -> bool:
        return self._now - answers.last <= FRESH
