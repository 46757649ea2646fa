"""Start requests, then follow-ups -> dupefilter, scope -> frontier: which request is next.

Ranks are given in the order of a first-in, first-out queue: start requests first, then follow-ups
in the order of their parents' ranks, as a sequential crawl would ask for them. What earns a rank is
decided at commit and in that order only, so timing can't change it.

**Speculation.** Follow-ups are fetched as soon as their page is there, although they get a rank
only when it is committed; else one slow page would hold up the whole crawl. Such an entry is
claimed by the request that earns the rank, if it is the same in all respects, or dropped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from crawler.dupefilter import DupeFilter
from crawler.entry import Entry
from crawler.errors import CrawlError
from crawler.fingerprint import fingerprint
from crawler.frontier import Frontier
from crawler.politeness import Politeness
from crawler.request import Request
from crawler.result import Failure, Result
from crawler.retry import RetryPolicy
from crawler.scope import Scope
from crawler.url import host, redirected

_UNRANKED = 2**62
"""Speculated entries come after all that have a rank, in the order in which they were found."""
_MAX_AHEAD = 5_000
"""Speculated entries at most."""
_BLOCKED = Result(
    failure=Failure("blocked", "not asked for: its host had only refusals or no answer for long")
)


@dataclass(frozen=True, slots=True)
class _FollowUp:
    """A follow-up that was committed and waits for its rank."""

    request: Request
    fingerprint: bytes
    depth: int
    is_in_scope: bool


class Scheduler:
    """Gives ranks and hands out the next request that may go.

    Start requests are taken from their iterator only when there is room for them, so it may be
    endless. `skipped` counts follow-ups that were left out, by reason.
    """

    def __init__(
        self,
        start: Iterator[Request],
        *,
        politeness: Politeness,
        retry: RetryPolicy,
        retries: int,
        scope: Scope | None = None,
        max_pages: int | None = None,
        max_depth: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start: Iterator[Request] | None = start
        self._politeness = politeness
        self._frontier = Frontier(politeness)
        self._retry = retry
        self._retries = retries
        self._scope = scope or Scope()
        self._max_pages = max_pages
        self._max_depth = max_depth
        self._clock = clock
        self._seen = DupeFilter()
        self._started = DupeFilter()
        """The start requests; kept apart, for some may turn out to be behind the end."""
        self._backlog: deque[_FollowUp] = deque()
        self._ranked: dict[int, Entry] = {}
        self._ahead: dict[bytes, Entry] = {}
        self._unranked = _UNRANKED
        self.known = 0
        """Requests that have a rank."""
        self.ahead_results = 0
        """Results of speculated requests, held until they earn a rank."""
        self.ahead_bytes = 0
        self.skipped: dict[str, int] = {}

    # Handing out.

    @property
    def waiting(self) -> int:
        """Requests that wait for their next attempt."""
        return self._frontier.waiting

    @property
    def foreseen(self) -> int | None:
        """Pages known so far; None while start requests are still being taken."""
        return None if self._start is not None else self.known + len(self._backlog)

    @property
    def is_exhausted(self) -> bool:
        """Whether no request is left that could get a rank."""
        if self._max_pages is not None and self.known >= self._max_pages:
            return True
        return self._start is None and not self._backlog

    def next(self, max_rank: float, *, may_speculate: bool = False) -> Entry | None:
        """The next request that may go now, at most of that rank; None if there is none.

        An entry with a `result` was speculated: it is finished.
        """
        now = self._clock()
        entry = self._frontier.take(now, max_rank)
        while entry is None and self.known <= max_rank:
            ranked = self._next_ranked()
            if ranked is None:
                break
            if ranked.result is not None:
                return ranked
            entry = self._frontier.take(now, max_rank)
        if entry is None and may_speculate:
            entry = self._take_ahead(now)
        if entry is not None and self._politeness.is_blocked(entry.host):
            entry.result = _BLOCKED
        elif entry is not None:
            entry.attempts += 1
            entry.is_in_flight = True
            self._politeness.started(entry.host, now)
        return entry

    def _take_ahead(self, now: float) -> Entry | None:
        """The next one that has no rank yet; those of hosts that were given up are finished."""
        while (entry := self._frontier.take(now, self._unranked)) is not None:
            is_blocked = self._politeness.is_blocked(entry.host)
            if not (is_blocked and self.finished_ahead(entry, _BLOCKED)):
                return entry
        return None

    def seconds_to_next(self, max_rank: float, *, may_speculate: bool = False) -> float | None:
        """How long until a request of at most that rank may go, None if none waits."""
        due = self._frontier.next_due(self._unranked if may_speculate else max_rank)
        return None if due is None else max(0.0, due - self._clock())

    def _next_ranked(self) -> Entry | None:
        """Give the next request its rank."""
        if self._max_pages is not None and self.known >= self._max_pages:
            return None
        entry = self._next_start() if self._start is not None else None
        if entry is None:
            entry = self._next_follow_up()
        if entry is not None:
            entry.rank = self.known
            self._ranked[entry.rank] = entry
            self.known += 1
            if entry.result is None and not entry.is_in_flight:
                self._frontier.add(entry, entry.due)
        return entry

    def finished(self, max_rank: float) -> Iterator[Entry]:
        """Give ranks to committed follow-ups; gives out those that were fetched ahead of it."""
        while self._start is None and self.known <= max_rank:
            entry = self._next_ranked()
            if entry is None:
                return
            if entry.result is not None:
                yield entry

    def _next_start(self) -> Entry | None:
        try:
            request = next(self._start, None) if self._start is not None else None
        except CrawlError:
            raise
        except (Exception, SystemExit) as error:
            raise CrawlError(f"the start of the crawl failed: {error!r}") from error
        if request is None:
            self._start = None
            return None
        mark = _fingerprint(request)
        self._started.add(mark)
        self._drop(mark)
        self._scope.add_start(host(request.url))
        return Entry(self.known, request, is_start=True)

    def _next_follow_up(self) -> Entry | None:
        while self._backlog:
            link = self._backlog.popleft()
            if link.fingerprint in self._started and not link.request.dont_filter:
                self._leave_out("duplicate", link.fingerprint)
            elif not (link.is_in_scope or self._scope.is_start(host(link.request.url))):
                self._leave_out("scope", link.fingerprint)
            else:
                return self._claim(link) or Entry(self.known, link.request, depth=link.depth)
        return None

    # What comes back.

    def returned(self, entry: Entry, result: Result | None = None) -> None:
        """An attempt is over, however it ended."""
        entry.is_in_flight = False
        self._politeness.finished(entry.host, self._clock(), result=result)
        self._frontier.freed(entry.host)

    def retry(self, entry: Entry, failure: Failure) -> bool:
        """Put a failed request back under its rank if the policy says so."""
        wait = self._retry.wait_before(failure, attempts=entry.attempts, retries=self._retries)
        if wait is None:
            return False
        self._frontier.add(entry, due=self._clock() + wait)
        return True

    def redirect(self, entry: Entry, status: int, location: str) -> Failure | None:
        """Put a redirected request back under its rank with its new URL, or say why not."""
        request = redirected(entry.target, status, location)
        if isinstance(request, Failure):
            return request
        entry.moved_to = request
        entry.attempts -= 1
        self._frontier.add(entry)
        return None

    def committed(self, entry: Entry) -> str | None:
        """A ranked entry is being committed. Says why its page is left out, if it is.

        That is the case for a follow-up that was redirected to a page asked for before, or out of
        scope. A start page's redirect widens the scope: sites move to `www.`.
        """
        del self._ranked[entry.rank]
        if not entry.target.history:
            return None
        mark = _fingerprint(entry.target)
        is_new = self._seen.add(mark) and mark not in self._started
        if is_new:
            self._drop(mark)  # links to it are duplicates from now on
        if entry.is_start:
            self._scope.add_redirected(host(entry.target.url))
            return None
        if not is_new and not entry.request.dont_filter:
            return self._leave_out("duplicate")
        if not self._scope.allows(entry.target.url):
            return self._leave_out("scope")
        return None

    def follow(self, entry: Entry, requests: Iterable[Request]) -> None:
        """Queue the follow-ups of a page that is being committed, in their order."""
        depth = entry.depth + 1
        for request in requests:
            mark = _fingerprint(request)
            reason = self._scope.denies(request.url)
            if reason is not None:
                self._leave_out(reason, mark)
            elif self._max_depth is not None and depth > self._max_depth:
                self._leave_out("depth", mark)
            elif not self._seen.add(mark) and not request.dont_filter:
                self._leave_out("duplicate")
            else:
                is_in_scope = self._scope.allows(request.url)
                self._backlog.append(_FollowUp(request, mark, depth, is_in_scope))

    def end_start(self, entry: Entry) -> None:
        """Take no more start requests, and forget those behind `entry`: the site has no more."""
        self._start = None
        for rank in range(entry.rank + 1, self.known):
            behind = self._ranked.pop(rank)
            behind.is_void = True
            self._started.discard(_fingerprint(behind.request))
        self.known = entry.rank + 1

    def _leave_out(self, reason: str, mark: bytes | None = None) -> str:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        if mark is not None:
            self._drop(mark)
        return reason

    # Speculation.

    def speculate(self, entry: Entry, requests: Iterable[Request]) -> None:
        """Fetch the follow-ups of a page that isn't committed yet, those that can earn a rank."""
        depth = entry.depth + 1
        is_too_deep = self._max_depth is not None and depth > self._max_depth
        if is_too_deep:
            return
        for request in requests:
            if len(self._ahead) >= _MAX_AHEAD:
                return  # there is enough to do
            if self._max_pages is not None and self.known + len(self._ahead) >= self._max_pages:
                return
            mark = _fingerprint(request)
            is_known = mark in self._seen or mark in self._started or mark in self._ahead
            if is_known or not self._may_follow(request):
                continue
            ahead = Entry(self._unranked, request, depth=depth)
            self._unranked += 1
            self._ahead[mark] = ahead
            self._frontier.add(ahead)

    def forget(self, requests: Iterable[Request]) -> None:
        """Drop what was speculated for a page that turned out not to count."""
        for request in requests:
            self._drop(_fingerprint(request))

    def finished_ahead(self, entry: Entry, result: Result) -> bool:
        """Keep the result of an entry that has no rank yet; False if it has one."""
        if entry.rank < _UNRANKED:
            return False
        entry.result = result
        self.ahead_results += 1
        self.ahead_bytes += result.body_bytes
        return True

    def _may_follow(self, request: Request) -> bool:
        is_denied = self._scope.denies(request.url) is not None
        return not is_denied and self._scope.allows(request.url)

    def _claim(self, link: _FollowUp) -> Entry | None:
        """The speculated entry of a follow-up that earned its rank, if it is the same request."""
        ahead = self._ahead.get(link.fingerprint)
        if ahead is None:
            return None
        if not _is_same(ahead.request, link.request):
            self._drop(link.fingerprint)
            return None
        del self._ahead[link.fingerprint]
        self._release(ahead)
        ahead.depth = link.depth
        if ahead.result is not None or ahead.is_in_flight:
            return ahead
        # It stands in the frontier in its old place; take another one with the same history.
        self._frontier.discard(ahead)
        return Entry(
            self.known,
            ahead.request,
            attempts=ahead.attempts,
            depth=ahead.depth,
            moved_to=ahead.moved_to,
            due=ahead.due,
        )

    def _drop(self, mark: bytes) -> None:
        ahead = self._ahead.pop(mark, None)
        if ahead is not None:
            self._release(ahead)
            if ahead.result is None and not ahead.is_in_flight:
                self._frontier.discard(ahead)
            ahead.is_void = True

    def _release(self, ahead: Entry) -> None:
        if ahead.result is not None:
            self.ahead_results -= 1
            self.ahead_bytes -= ahead.result.body_bytes


def _is_same(one: Request, other: Request) -> bool:
    """In all that the spider can see: 1, True and 1.0 are equal, but not the same."""
    return one == other and repr(one.meta) == repr(other.meta)


def _fingerprint(request: Request) -> bytes:
    try:
        return fingerprint(request)
    except ValueError:  # no URL; it fails its page on the worker, and once is enough
        return request.url.encode("utf-8", "surrogatepass")
