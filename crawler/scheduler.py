"""Which request is next: of those that have a rank, or may earn one, the first that may go now.

Ranks decide the order (see `crawler.ranks`), the frontier and politeness when each may go. What
isn't done yet (a failed attempt, a redirect) goes back to the frontier under its own rank.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crawler.backoff import DOWN
from crawler.entry import Entry
from crawler.fingerprint import fingerprint
from crawler.frontier import Frontier
from crawler.gate import Gate
from crawler.journal import Journal
from crawler.politeness import Politeness
from crawler.ranked import Ranked
from crawler.ranks import Ranks, Skipped
from crawler.request import Request
from crawler.result import Failure, Item, Result
from crawler.retry import RetryPolicy
from crawler.scope import Scope
from crawler.speculation import Speculation
from crawler.url import redirected

_BLOCKED = Result(
    failure=Failure("blocked", "not asked for: its host had only refusals or no answer for long")
)


class Scheduler:
    """Gives out requests, takes back those that aren't done, and follows links at commit.

    Unless `is_ordered`, ranks are mere numbers: none is taken back. `robots_agent` is the
    User-Agent by which robots.txt is read; None reads none.
    """

    def __init__(
        self,
        start: Iterator[Request],
        *,
        politeness: Politeness,
        retry: RetryPolicy,
        retries: int,
        journal: Journal,
        scope: Scope | None = None,
        max_pages: int | None = None,
        max_depth: int | None = None,
        traps: bool = True,
        mark: Callable[[Request], bytes] = fingerprint,
        skip: Callable[[Skipped], None] | None = None,
        is_ordered: bool = True,
        robots_agent: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._politeness = politeness
        self._frontier = Frontier(politeness)
        self._retry = retry
        self._retries = retries
        self._journal = journal
        self._is_ordered = is_ordered
        self._clock = clock
        self._speculation = Speculation(self._frontier)
        self._ranks = Ranks(
            start,
            journal=journal,
            scope=scope or Scope(),
            max_pages=max_pages,
            max_depth=max_depth,
            traps=traps,
            mark=mark,
            unwanted=self._speculation.drop,
            skip=skip,
        )
        self._gate = None
        if robots_agent is not None:
            self._gate = Gate(
                robots_agent,
                frontier=self._frontier,
                politeness=politeness,
                wait_before=self._wait_before,
            )
        self._ranked = Ranked()
        self._attempts: dict[bytes, int] = {}
        """Made in an earlier session, by requests that aren't done."""
        self._public: set[str] = set()
        """Hosts of start requests that answered from a public address."""

    # What is known.

    @property
    def known(self) -> int:
        """No rank is above."""
        return self._ranks.known

    @property
    def foreseen(self) -> int | None:
        """Pages known so far; None while start requests are still being taken."""
        return self._ranks.foreseen

    @property
    def is_exhausted(self) -> bool:
        """Whether no request is left that could get a rank."""
        return self._ranks.is_exhausted

    @property
    def waiting(self) -> int:
        """Requests that wait for their next attempt."""
        return self._frontier.waiting

    @property
    def ahead_results(self) -> int:
        """Results of speculated requests, held until they earn a rank."""
        return self._speculation.results

    @property
    def ahead_bytes(self) -> int:
        """Bytes of the pages they came from."""
        return self._speculation.body_bytes

    @property
    def skipped(self) -> dict[str, int]:
        """How many follow-ups were left out, by reason."""
        return self._ranks.skipped

    # Handing out.

    def next(self, max_rank: float) -> Entry | None:
        """The next request that may go now, at most of that rank; None if there is none.

        An entry with a `result` is finished: it was speculated, or may not be fetched.
        """
        now = self._clock()
        entry = self._take(now, max_rank)
        while entry is None and self._ranks.next_rank <= max_rank:
            ranked = self._next_ranked()
            if ranked is None:
                break
            if ranked.result is not None:
                return ranked
            entry = self._take(now, max_rank)
        return self._handed_out(entry, now)

    def next_ahead(self) -> Entry | None:
        """One that may go now, whatever its rank is going to be."""
        now = self._clock()
        return self._handed_out(self._take(now, math.inf), now)

    def _handed_out(self, entry: Entry | None, now: float) -> Entry | None:
        if entry is not None and entry.result is None:
            entry.attempts += 1
            entry.is_in_flight = True
            self._politeness.started(entry.host, now)
        return entry

    def _take(self, now: float, max_rank: float) -> Entry | None:
        """The next one that may go, or that is finished because it may not be fetched."""
        while (taken := self._frontier.take(now, max_rank)) is not None:
            entry = self._admitted(taken, now)
            if entry is None:
                continue
            if entry.result is None or not self.finished_ahead(entry, entry.result):
                return entry
        return None

    def _admitted(self, entry: Entry, now: float) -> Entry | None:
        """What to fetch for an entry; it has a result if it may not be fetched."""
        if self._politeness.is_blocked(entry.host) and not entry.is_robots:
            entry.result = _BLOCKED
            return entry
        return entry if self._gate is None else self._gate.admit(entry, now)

    def seconds_to_next(self, max_rank: float, *, may_speculate: bool = False) -> float | None:
        """How long until a request of at most that rank may go, None if none waits."""
        due = self._frontier.next_due(math.inf if may_speculate else max_rank)
        return None if due is None else max(0.0, due - self._clock())

    def why_idle(self, max_rank: float) -> dict[str, int]:
        """Why `next` gave nothing: reasons with weights; see `crawler.accounting`."""
        reasons = self._frontier.reasons
        if reasons:
            return reasons
        if self.known > max_rank and not self.is_exhausted:
            return {"order": 1}
        return {"retry": 1} if self.waiting else {"empty": 1}

    def _next_ranked(self) -> Entry | None:
        """Give the next request its rank."""
        entry = self._ranks.next()
        if entry is None:
            return None
        ahead = self._speculation.claim(entry.request, entry.fingerprint)
        if ahead is not None:
            ahead.rank, ahead.place, ahead.parent = entry.rank, entry.place, entry.parent
            ahead.depth, ahead.is_start = entry.depth, entry.is_start
            entry = ahead
        else:
            entry.attempts = self._earlier_attempts(entry.fingerprint)
        self._ranked.add(entry)
        if entry.result is None and not entry.is_in_flight:
            self._frontier.add(entry, entry.due)
        return entry

    def _earlier_attempts(self, mark: bytes) -> int:
        return self._attempts.pop(mark, 0) if self._attempts else 0

    def finished(self, max_rank: float) -> Iterator[Entry]:
        """Give ranks to committed follow-ups; gives out those that were fetched ahead of it."""
        while self._ranks.has_started and self._ranks.next_rank <= max_rank:
            entry = self._next_ranked()
            if entry is None:
                return
            if entry.result is not None:
                yield entry

    def may_be_private(self, entry: Entry) -> bool:
        """Whether it may be fetched from a private address: the user named its host as a start.

        Not if the host has answered from a public one: then its name has been moved inside.
        """
        return self._ranks.is_start_host(entry.host) and entry.host not in self._public

    # What comes back.

    def answered_publicly(self, entry: Entry) -> None:
        """Its answer came from a public address."""
        if self._ranks.is_start_host(entry.host):
            self._public.add(entry.host)

    def returned(self, entry: Entry, result: Result | None = None) -> None:
        """An attempt is over, however it ended."""
        entry.is_in_flight = False
        self._politeness.finished(entry.host, self._clock(), result=result)
        self._frontier.freed(entry.host)

    def retry(self, entry: Entry, failure: Failure) -> bool:
        """Put a failed request back under its rank if the policy says so."""
        attempts = entry.attempts - self._was_in_vain(entry, failure)
        judged = attempts
        if failure.unreached and self._politeness.has_answered(entry.host):
            # An outage is noticed at the third such failure, and all three may be this page's.
            judged = max(1, attempts - (DOWN - 1))
        wait = self._wait_before(failure, judged)
        if wait is None:
            return False
        entry.attempts = attempts
        self._journal.attempted(entry.fingerprint, entry.attempts)
        self._frontier.add(entry, due=self._clock() + wait)
        return True

    def _was_in_vain(self, entry: Entry, failure: Failure) -> bool:
        """Whether the attempt doesn't count, since its host is down."""
        return failure.unreached and self._politeness.is_down(entry.host)

    def _wait_before(self, failure: Failure, attempts: int) -> float | None:
        return self._retry.wait_before(failure, attempts=attempts, retries=self._retries)

    def robots_returned(self, entry: Entry, result: Result) -> None:
        """An attempt to get a robots.txt is over."""
        if self._gate is not None:
            self._gate.returned(entry, result, self._clock())

    def redirect(self, entry: Entry, status: int, location: str) -> Failure | None:
        """Put a redirected request back under its rank with its new URL, or say why not."""
        request = redirected(entry.target, status, location)
        if isinstance(request, Failure):
            return request
        entry.move(request)
        entry.attempts -= 1
        self._frontier.add(entry)
        return None

    def speculate(self, entry: Entry, requests: Iterable[Request]) -> None:
        """Fetch the follow-ups of a page that isn't committed yet, those that can earn a rank."""
        entry.marks = []
        for request in requests:
            ahead = len(self._speculation)
            if self._speculation.is_full or not self._ranks.has_room_for(ahead):
                return
            mark = self._ranks.mark_of(request)
            entry.marks.append(mark)
            if mark in self._speculation:
                continue
            if self._ranks.may_get_rank(request, mark, entry.depth + 1):
                self._speculation.add(
                    request, mark, depth=entry.depth + 1, attempts=self._earlier_attempts(mark)
                )

    def fetch_file(self, entry: Entry) -> None:
        """Have a file fetched that a page waits for; its rank, below all pages', goes first."""
        entry.attempts = self._earlier_attempts(entry.fingerprint)
        self._frontier.add(entry)

    def has_file(self, entry: Entry) -> None:
        """A file was stored, or failed for good."""
        if entry.attempts > 1:
            self._journal.attempted(entry.fingerprint, 0)

    def finished_ahead(self, entry: Entry, result: Result) -> bool:
        """Keep the result of an entry that has no rank yet; False if it has one."""
        return self._speculation.finished(entry, result)

    # At commit.

    def committed(self, entry: Entry, result: Result) -> str | None:
        """A ranked entry is being committed. Says why its page is left out, if it is."""
        self._ranked.remove(entry.rank)
        return self._ranks.committed(entry, result)

    def follow(
        self, entry: Entry, requests: Iterable[Request], *, items: Iterable[Item] = ()
    ) -> list[Entry]:
        """Queue the follow-ups of a page that is being committed and gave `items`, in their order.

        Gives back entries that lose their ranks, because some of these are more urgent; `take_back`
        each.
        """
        highest = self._ranks.follow(entry, requests, items=items)
        if highest is None or not self._is_ordered:
            return []
        late = self._ranked.remove_below(highest)
        self._ranks.give_back(late, below=highest)
        return late

    def take_back(self, entry: Entry, result: Result | None) -> None:
        """Keep an entry that lost its rank for when it gets another one."""
        self._speculation.take_back(entry, result)

    def forget(self, requests: Iterable[Request]) -> None:
        """Drop what was speculated for a page that turned out not to count."""
        for request in requests:
            self._speculation.drop(self._ranks.mark_of(request))

    def done(self, entry: Entry, result: Result, *, items: int, left_out: str | None) -> None:
        """Note what became of an entry: `items` were written, or it was left out."""
        self._ranks.done(entry, result, items=items, left_out=left_out)

    def end_start(self, entry: Entry) -> None:
        """Take no more start requests, and forget those behind `entry`: the site has no more."""
        behind = [self._ranked.remove(rank) for rank in range(entry.rank + 1, self.known)]
        for each in behind:
            each.is_void = True
        self._ranks.end_start(entry, behind)

    def settle(self) -> None:
        """Everything has its rank: count what got none."""
        self._ranks.settle()

    # A resumed crawl.

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the journal's own."""
        return self._ranks.state()

    @property
    def undone(self) -> list[int]:
        """The ranks below `known` that aren't done, when a crawl is resumed."""
        return self._ranks.undone

    def resume(self, state: dict[str, Any]) -> int:
        """Go on where the journal ends; how many requests are done."""
        self._attempts = self._journal.attempts()
        return self._ranks.resume(state)
