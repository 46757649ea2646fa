"""How fast one host may be asked, from how it answers. Pure rules, without a clock.

As TCP finds its rate (AIMD, RFC 5681): a sign of overload halves the number of requests that may be
in flight to the host, once a round trip; good answers raise it by one in four round trips. Below
one, the number stands for a pause between two requests, one at a time: 0.25 s at a half, twice as
long with each further halving, up to 32 s; each good answer shortens the pause by a third.

A host that can't be reached at all may be so because its network is down, or our own. Asking
costs nobody much then, so the pause is an eighth of the time that has passed, and a second at
least: a host that comes back after 20 s is asked 2.5 s later. What it was asked before was not too
much for it, so it goes on without pauses, one request at a time at first.
"""

from __future__ import annotations

import math
from enum import Enum

from crawler.result import Result

GONE = frozenset({404, 410})

SLOWEST = 1 / 256
_PAUSE_AT_ONE = 0.125
_STEP = 0.25
_SHORTER = 1.5

DOWN = 3
"""Attempts that didn't reach a host, without an answer in between, after which it is down."""
_SHARE_OF_OUTAGE = 1 / 8
_LEAST_PAUSE_WHEN_DOWN = 1.0

ENOUGH = 20
"""Bad answers in a row after which a host that is asked at its slowest rate is given up ..."""
LONG_ENOUGH = 300.0
"""... once the row has lasted so many seconds, for servers are restarted and cables replugged."""
ENOUGH_FORBIDDEN = 500
"""The same at any rate: 403s don't lower it, and a forbidden part of a site may be large."""


class Sign(Enum):
    """What the end of an attempt says about its host."""

    GOOD = "good"
    """It answers as it should."""
    TOO_MANY = "too many"
    """429: it says that it is asked too fast."""
    TROUBLE = "trouble"
    """It may be overloaded, or down: 503, a time-out, a connection refused or reset."""
    UNREACHED = "unreached"
    """The same, and not even a connection was made."""
    FORBIDDEN = "forbidden"
    """403: a page that nobody may see, or a host that wants no more of us."""
    NOTHING = "nothing"
    """Its name is unknown, the spider did the fetching, the page was broken ..."""


REFUSALS = {403: Sign.FORBIDDEN, 429: Sign.TOO_MANY, 503: Sign.TROUBLE}
"""Answers that keep a crawler out; their `Retry-After` is meant for the whole host."""


def sign_of(result: Result) -> Sign:
    """What a result says about the host that was asked."""
    status = result.status
    if status is not None:
        if status < 400 or status in GONE:
            return Sign.GOOD
        if status in REFUSALS:
            return REFUSALS[status]
    elif result.failure is not None:
        if result.failure.unreached:
            return Sign.UNREACHED
        if result.failure.kind in ("timeout", "connection"):
            return Sign.TROUBLE
    return Sign.NOTHING


class Latency:
    """Tells when a host became much slower than it was, and stays so.

    Single answers say nothing: healthy latencies spread over two orders of magnitude. So this looks
    at their geometric mean over some 64 answers, and compares it with the lowest such mean of the
    last 256 to 512 answers. Only eight times as slow and over five seconds is a sign; a host that
    stays slower is measured by its new pace after 512 answers.
    """

    _ANSWERS = 64
    _ANSWERS_REMEMBERED = 256
    _TIMES = math.log(8)
    _LEAST = math.log(5.0)

    def __init__(self) -> None:
        self._mean = 0.0
        self._count = 0
        self._lowest = math.inf
        self._lowest_before = math.inf

    def add(self, seconds: float) -> bool:
        """Take in an answer's latency; whether the host is much slower than it was."""
        self._count += 1
        weight = 1 / min(self._count, self._ANSWERS)
        self._mean += weight * (math.log(max(seconds, 0.001)) - self._mean)
        if self._count < self._ANSWERS:
            return False
        if self._count % self._ANSWERS_REMEMBERED == 0:
            self._lowest_before, self._lowest = self._lowest, math.inf
        self._lowest = min(self._lowest, self._mean)
        usual = min(self._lowest, self._lowest_before)
        return self._mean > max(usual + self._TIMES, self._LEAST)


class Backoff:
    """The rate of one host; `most` requests may be in flight when all is well."""

    __slots__ = (
        "_latency",
        "_row",
        "_row_began",
        "_settling",
        "_unreached_since",
        "is_hopeless",
        "limit",
        "most",
        "unreached",
    )

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit: float = most
        """Requests that may be in flight; below one, a pause between two of them."""
        self.is_hopeless = False
        """Whether the host is to be given up."""
        self._row = 0
        """Bad answers since the last good one."""
        self._row_began = 0.0
        self.unreached = 0
        """Attempts that didn't reach it, since it last answered."""
        self._unreached_since = 0.0
        self._settling = 0
        """Attempts to come that began before the rate was lowered, and so say nothing new."""
        self._latency: Latency | None = None

    @property
    def pause(self) -> float:
        """Seconds between the end of a request and the start of the next."""
        return _PAUSE_AT_ONE / self.limit if self.limit < 1 else 0.0

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to remember but latencies."""
        return self.limit >= self.most and not self._row

    def ended(self, sign: Sign, now: float, *, in_flight: int, seconds: float) -> None:
        """An attempt is over, one of `in_flight`, that took so many seconds."""
        is_new = not self._settling
        if self._settling:
            self._settling -= 1
        if sign is Sign.GOOD:
            self._row = 0
            if not self._is_slow(seconds, in_flight):
                self._raise()
            elif is_new:
                # A slow host isn't one that refuses: it keeps a quarter, and needs no pause.
                self._lower(in_flight, least=max(1.0, self.most / 4))
        elif sign is not Sign.NOTHING:
            self._count(now)
            least = self._not_reached(now) if sign is Sign.UNREACHED else SLOWEST
            # A single 503 or time-out between good answers is an accident; some sites have many.
            is_trouble = sign in (Sign.TROUBLE, Sign.UNREACHED) and self._row > 1
            if is_new and (is_trouble or sign is Sign.TOO_MANY):
                self._lower(in_flight, least=least)

    def answered(self) -> None:
        """There was an answer, whatever it was."""
        if self.unreached >= DOWN:
            self.limit = max(self.limit, 1.0)
        self.unreached = 0

    def _not_reached(self, now: float) -> float:
        """Note it; how far the rate may be lowered for it."""
        if not self.unreached:
            self._unreached_since = now
        self.unreached += 1
        pause = max(_LEAST_PAUSE_WHEN_DOWN, _SHARE_OF_OUTAGE * (now - self._unreached_since))
        return max(SLOWEST, _PAUSE_AT_ONE / pause)

    def _count(self, now: float) -> None:
        """Count a bad answer."""
        if not self._row:
            self._row_began = now
        self._row += 1
        lasted = now - self._row_began
        self.is_hopeless = self._row >= ENOUGH_FORBIDDEN or (
            self._row >= ENOUGH and self.limit <= SLOWEST and lasted >= LONG_ENOUGH
        )

    def _is_slow(self, seconds: float, in_flight: int) -> bool:
        if in_flight < 2:
            return False  # it gets one at a time already
        if self._latency is None:
            self._latency = Latency()
        return self._latency.add(seconds)

    def _raise(self) -> None:
        if self.limit < 1:
            self.limit = min(1.0, self.limit * _SHORTER)
        elif self.limit < self.most:
            self.limit = min(float(self.most), self.limit + _STEP / self.limit)

    def _lower(self, in_flight: int, *, least: float) -> None:
        # From what was in flight, not from what may be: that may be more than there are workers.
        self.limit = min(self.limit, max(least, min(self.limit, in_flight) / 2))
        self._settling = in_flight - 1
