"""Lets a request pass once its site's robots.txt is known, and allows it.

The first request to a site is held back and the site's robots.txt is asked for in its place, like
any page: on a worker, politely, with retries. Others that come meanwhile wait as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from crawler.entry import Entry
from crawler.frontier import Frontier
from crawler.politeness import Politeness
from crawler.request import Request
from crawler.result import Failure, Result
from crawler.robots import MAX_REDIRECTS, RobotsCache, RobotsRules, judge, robots_url
from crawler.url import host, origin, redirected

_FIRST = -1
"""The rank of a robots.txt: requests of any rank may be waiting for it."""

log = logging.getLogger("crawler.gate")


class Gate:
    """Knows the rules of each site, or finds them out.

    `wait_before` says how long to wait before another attempt, given a failure and how many were
    made, or None to give up.
    """

    def __init__(
        self,
        user_agent: str,
        *,
        frontier: Frontier,
        politeness: Politeness,
        wait_before: Callable[[Failure, int], float | None],
    ) -> None:
        self._user_agent = user_agent
        self._frontier = frontier
        self._politeness = politeness
        self._wait_before = wait_before
        self._cache = RobotsCache()
        self._held_back: dict[str, list[Entry]] = {}
        """By origin, while its robots.txt is on its way."""

    def admit(self, entry: Entry, now: float) -> Entry | None:
        """What to fetch now: the entry; its site's robots.txt; or nothing, as that is on its way.

        An entry that is forbidden comes back with a result.
        """
        if entry.is_robots:
            return entry
        url = entry.target.url
        known = self._cache.get(url, now)
        if known is None:
            held_back = self._held_back.setdefault(origin(url), [])
            held_back.append(entry)
            is_asked_for = len(held_back) > 1
            return None if is_asked_for else Entry(_FIRST, Request(robots_url(url)), is_robots=True)
        if isinstance(known, Failure):
            entry.result = Result(failure=known)
        elif not known.allows(url):
            message = "the site's robots.txt forbids it; --ignore-robots asks all the same"
            entry.result = Result(failure=Failure("robots", message))
        return entry

    def returned(self, entry: Entry, result: Result, now: float) -> None:
        """An attempt to get a robots.txt is over: go on with it, or let pass those that wait."""
        failure = result.failure
        if result.redirect is not None and result.status is not None:
            moved = _moved(entry, result.status, result.redirect)
            if isinstance(moved, Request):
                entry.move(moved)
                entry.attempts -= 1
                self._frontier.add(entry)
                return
            failure = moved
        known = judge(failure or _body(result), self._user_agent)
        if isinstance(known, Failure) and known.retryable:
            if failure is not None and failure.unreached and self._politeness.is_down(entry.host):
                entry.attempts -= 1
            wait = self._wait_before(known, entry.attempts)
            if wait is not None:
                log.info("trying again: %s (%s)", entry.target.url, known.message)
                self._frontier.add(entry, due=now + wait)
                return
        self._learnt(entry.request.url, self._cache.put(entry.request.url, known, now))

    def _learnt(self, url: str, known: RobotsRules | Failure) -> None:
        if isinstance(known, Failure):
            log.warning("%s: %s", url, known.message)
        else:
            if known.note is not None:
                log.warning("%s: %s", url, known.note)
            if known.crawl_delay is not None:
                self._politeness.set_crawl_delay(host(url), known.crawl_delay)
        for entry in self._held_back.pop(origin(url)):
            if not entry.is_void:
                self._frontier.add(entry, entry.due)


def _body(result: Result) -> bytes:
    text: str = result.items[0]["robots"]
    return text.encode("latin-1")


def _moved(entry: Entry, status: int, location: str) -> Request | Failure:
    if len(entry.target.history) >= MAX_REDIRECTS:
        return Failure("redirect", f"more than {MAX_REDIRECTS} redirects in a row")
    return redirected(entry.target, status, location)
