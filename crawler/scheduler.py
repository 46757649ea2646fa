"""Start requests -> frontier -> politeness: which request is next, and which is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from crawler.frontier import Entry, Frontier
from crawler.politeness import Politeness
from crawler.request import Request
from crawler.result import Failure
from crawler.retry import RetryPolicy
from crawler.url import redirected


class Scheduler:
    """Gives ranks to start requests and hands out the next request that may go.

    Start requests are taken from their iterator only when there is room for them, so it may be
    endless.
    """

    def __init__(
        self,
        start: Iterator[Request],
        *,
        politeness: Politeness,
        retry: RetryPolicy,
        retries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start: Iterator[Request] | None = start
        self._politeness = politeness
        self._frontier = Frontier(politeness)
        self._retry = retry
        self._retries = retries
        self._clock = clock
        self.known = 0
        """Requests that have a rank."""

    @property
    def waiting(self) -> int:
        """Requests that wait for their next attempt."""
        return self._frontier.waiting

    def next(self, max_rank: float) -> Entry | None:
        """The next request that may go now, at most of that rank; None if there is none."""
        now = self._clock()
        entry = self._frontier.take(now, max_rank)
        while entry is None and self._start is not None and self.known <= max_rank:
            request = next(self._start, None)
            if request is None:
                self._start = None
                break
            self._frontier.add(Entry(self.known, request))
            self.known += 1
            entry = self._frontier.take(now, max_rank)
        if entry is not None:
            entry.attempts += 1
            self._politeness.started(entry.host, now)
        return entry

    def end_start(self) -> None:
        """Take no more start requests: the site has no more pages."""
        self._start = None

    @property
    def start_is_exhausted(self) -> bool:
        """Whether every start request has its rank."""
        return self._start is None

    def seconds_to_next(self, max_rank: float) -> float | None:
        """How long until a request of at most that rank may go, None if none waits."""
        due = self._frontier.next_due(max_rank)
        return None if due is None else max(0.0, due - self._clock())

    def returned(self, entry: Entry) -> None:
        """An attempt is over, however it ended."""
        self._politeness.finished(entry.host, self._clock())

    def retry(self, entry: Entry, failure: Failure) -> bool:
        """Put a failed request back under its rank if the policy says so."""
        wait = self._retry.wait_before(failure, attempts=entry.attempts, retries=self._retries)
        if wait is None:
            return False
        self._frontier.add(entry, due=self._clock() + wait)
        return True

    def redirect(self, entry: Entry, status: int, location: str) -> Failure | None:
        """Put a redirected request back under its rank with its new URL, or say why not."""
        request = redirected(entry.request, status, location)
        if isinstance(request, Failure):
            return request
        self._frontier.add(replace(entry, request=request, attempts=entry.attempts - 1))
        return None
