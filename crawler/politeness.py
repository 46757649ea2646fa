"""Which host may be asked, and when. Times are seconds of the caller's monotonic clock."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

from crawler.backoff import REFUSALS, Backoff, Sign, sign_of
from crawler.outage import Outages
from crawler.result import Result
from crawler.retry import MAX_RETRY_AFTER
from crawler.settings import HostRule

_FORGOTTEN_AFTER = 600.0
"""Seconds without a request after which a host's troubles may be forgotten."""
_FEW_HOSTS = 1_000

log = logging.getLogger("crawler.politeness")


class _Host:
    """What there is to remember of a host while it is asked, rests or is in trouble."""

    __slots__ = ("backoff", "delay", "in_flight", "is_spared", "last", "ready_at")

    def __init__(self, delay: float, per_host: int) -> None:
        self.delay = delay
        self.backoff = Backoff(per_host)
        self.in_flight = 0
        self.ready_at = 0.0
        self.is_spared = False
        """Whether it rests for its troubles, and not for its delay."""
        self.last = 0.0
        """When its last request ended."""

    def may_be_forgotten(self, now: float) -> bool:
        if self.in_flight or self.ready_at > now:
            return False
        return self.backoff.is_at_rest or now - self.last >= _FORGOTTEN_AFTER


class Politeness:
    """Bounds how often and how many at a time each host is asked.

    - `delay` seconds between two requests to a host, counted from start to start; from the end of
      the last exchange when `serial`, that is when only one request is in flight at a time: a slow
      server then gets the same rest as a fast one. A robots.txt may ask for more.
    - `per_host` requests in flight to a host at most. `hosts` has other numbers for some hosts, by
      patterns such as `*.example.org`; the first that fits is taken.
    - A `Retry-After` with a 403, 429 or 503 is a rest for the whole host, not only for its page.
    - `adaptive`: a host that is overloaded is asked less (see `Backoff`), one that went away is
      waited for (see `Outages`), and one that doesn't recover is given up: it `is_blocked`.

    Little is kept of hosts that are well and not being asked, however many there were.
    """

    def __init__(
        self,
        delay: float = 0.0,
        *,
        serial: bool = False,
        per_host: int = 8,
        hosts: Mapping[str, HostRule] | None = None,
        adaptive: bool = True,
    ) -> None:
        self.delay = delay
        self.serial = serial
        self.per_host = per_host
        self.adaptive = adaptive
        self._rules = {pattern.lower(): rule for pattern, rule in (hosts or {}).items()}
        self._crawl_delays: dict[str, float] = {}
        self._blocked: set[str] = set()
        self._outages = Outages()
        self._hosts: dict[str, _Host] = {}
        self._sweep_at = _FEW_HOSTS

    @property
    def remembered(self) -> int:
        """Of how many hosts something is kept."""
        return len(self._hosts)

    def ready_at(self, host: str) -> float:
        """When the host may be asked next; infinite while as many requests are in flight as may be.

        A blocked host isn't waited for: its requests are to be failed.
        """
        state = self._hosts.get(host)
        if state is None:
            return 0.0
        if state.in_flight >= max(1.0, math.floor(state.backoff.limit)):
            return math.inf
        return state.ready_at

    def why_not_ready(self, host: str) -> str:
        """What a host is waited for: `delay`, `per_host`, or `backoff` if it is spared."""
        state = self._hosts.get(host)
        if state is None:
            return "delay"
        if state.in_flight >= max(1.0, math.floor(state.backoff.limit)):
            return "per_host" if state.backoff.limit >= state.backoff.most else "backoff"
        return "backoff" if state.is_spared else "delay"

    def started(self, host: str, now: float) -> None:
        """A request to the host was handed out."""
        state = self._hosts.get(host)
        if state is None:
            self._forget_some(now)
            state = self._hosts[host] = self._new(host)
        state.in_flight += 1
        if state.delay and now + state.delay > state.ready_at:
            state.ready_at = now + state.delay
            state.is_spared = False

    def finished(self, host: str, now: float, *, result: Result | None = None) -> None:
        """The host answered, or the attempt failed."""
        state = self._hosts.get(host)
        if state is None or not state.in_flight:
            return  # it was given up meanwhile
        own = rest = state.delay if self.serial else 0.0
        if result is not None and self.adaptive:
            sign = sign_of(result)
            self._note_reach(host, state.backoff, sign, result)
            took = result.fetch_seconds if result.answer_seconds is None else result.answer_seconds
            state.backoff.ended(sign, now, in_flight=state.in_flight, seconds=took)
            rest = max(rest, state.backoff.pause)
            if state.backoff.is_hopeless:
                self._blocked.add(host)
                self._drop(host)
                return
        if result is not None:
            rest = max(rest, _asked_to_wait(result))
        state.in_flight -= 1
        state.last = now
        if rest:
            if now + rest > state.ready_at:
                state.ready_at = now + rest
                state.is_spared = rest > own
        elif state.may_be_forgotten(now):
            self._drop(host)

    def _note_reach(self, host: str, backoff: Backoff, sign: Sign, result: Result) -> None:
        if sign is Sign.UNREACHED:
            if self._outages.missed(host) and result.failure is not None:
                message = "%s can't be reached any more (%s); its pages wait until it can"
                log.warning(message, host, result.failure.message)
        elif result.status is not None:
            # A time-out or a reset is no answer: it may have begun before the host went away.
            backoff.answered()
            if self._outages.answered(host):
                log.warning("%s answers again", host)

    def is_down(self, host: str) -> bool:
        """Whether it can't be reached, while earlier in the crawl it could, or others could."""
        return self._outages.is_down(host)

    def has_answered(self, host: str) -> bool:
        """Whether it has in this crawl, so that an outage would be noticed."""
        return self._outages.has_answered(host)

    def set_crawl_delay(self, host: str, seconds: float) -> None:
        """The least delay for a host, as its robots.txt asks; 0 for none."""
        if 0 < seconds < math.inf:
            self._crawl_delays[host] = seconds
        else:
            self._crawl_delays.pop(host, None)
        state = self._hosts.get(host)
        if state is not None:
            state.delay = self._new(host).delay

    def is_blocked(self, host: str) -> bool:
        """Whether the host is given up, for the rest of the crawl.

        It is after 20 bad answers in a row (429, 503, 403, time-outs, failed connections; any good
        answer begins a new row) in at least five minutes, when it is asked at the slowest rate; or
        after 500 times 403 in a row. The row is that of completions, so it depends on timing when
        exactly that is.
        """
        return host in self._blocked

    def _new(self, host: str) -> _Host:
        rule = self._rule(host) if self._rules else HostRule()
        delay = self.delay if rule.delay is None else rule.delay
        per_host = self.per_host if rule.per_host is None else rule.per_host
        return _Host(max(delay, self._crawl_delays.get(host, 0.0)), per_host)

    def _rule(self, host: str) -> HostRule:
        name = host.rpartition(":")[0] or host  # a pattern without a port is for all ports
        for pattern, rule in self._rules.items():
            if fnmatchcase(host, pattern) or fnmatchcase(name, pattern):
                return rule
        return HostRule()

    def _forget_some(self, now: float) -> None:
        """Drop what isn't needed any more, whenever there is twice as much as was needed."""
        if len(self._hosts) < self._sweep_at:
            return
        for host in [h for h, state in self._hosts.items() if state.may_be_forgotten(now)]:
            self._drop(host)
        self._sweep_at = max(_FEW_HOSTS, 2 * len(self._hosts))

    def _drop(self, host: str) -> None:
        del self._hosts[host]
        self._outages.forget(host)


def _asked_to_wait(result: Result) -> float:
    failure = result.failure
    if failure is None or failure.retry_after is None or result.status not in REFUSALS:
        return 0.0
    return min(failure.retry_after, MAX_RETRY_AFTER)
