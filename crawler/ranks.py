"""Which request gets the next rank: start requests first, then follow-ups, each page once.

Ranks are given in the order of a queue, first in, first out among those of the highest priority, as
a sequential crawl would ask for them. What earns a rank is decided when pages are committed and in
that order only, so timing can't change it: ranks given ahead of time are taken back when a page
gives follow-ups that are more urgent. What was decided stands in the journal.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, zip_longest
from typing import Any

from crawler.backlog import FollowUp
from crawler.dupefilter import DupeFilter
from crawler.entry import Entry
from crawler.errors import CrawlError, UsageError
from crawler.fingerprint import fingerprint
from crawler.journal import FIRST_FOLLOW_UP, Journal, Outcome
from crawler.request import Request
from crawler.result import Item, Result
from crawler.scope import Scope
from crawler.traps import ADVICE, Families, catches
from crawler.url import host
from crawler.users_traceback import failed_start

_MARKS = 4_096
"""Fingerprints kept at hand."""

log = logging.getLogger("crawler.ranks")

Skipped = dict[str, Any]
"""A request that was left out: its url, the reason, and the rank of the page that linked to it."""


def _ignore(_: object) -> None:
    pass


class Ranks:
    """Gives ranks, and notes what became of them.

    Start requests are taken from their iterator only as they are asked for, so it may be endless.
    With `traps`, links into endless sites are left out (see `crawler.traps`).
    `mark` gives a request's fingerprint. `unwanted` is told that of each request that gets no rank,
    `skip` why it doesn't.
    """

    def __init__(
        self,
        start: Iterator[Request],
        *,
        journal: Journal,
        scope: Scope,
        max_pages: int | None = None,
        max_depth: int | None = None,
        traps: bool = True,
        mark: Callable[[Request], bytes] = fingerprint,
        unwanted: Callable[[bytes], None] = _ignore,
        skip: Callable[[Skipped], None] | None = None,
    ) -> None:
        self._start: Iterator[Request] | None = start
        self._journal = journal
        self._scope = scope
        self._max_pages = max_pages
        self._max_depth = max_depth
        self._families = Families() if traps else None
        self._mark = mark
        self._marks: dict[tuple[str, str, str], bytes] = {}
        """Of the latest requests without a body. A link is looked at when its page is there and
        again when that is committed, and many links stand on every page of a site."""
        self._unwanted = unwanted
        self._skip = skip
        self._seen = DupeFilter()
        self._started = DupeFilter()
        """The start requests; kept apart, for some may turn out to be behind the end."""
        self._starts_taken = 0
        self._starts: int | None = None
        """How many there are, once that is known."""
        self._done_starts: Iterator[tuple[int, str, str | None]] = iter(())
        """Those of an earlier session; the start must begin with the same ones."""
        self._gaps: deque[int] = deque()
        """Ranks below `known` that nobody has (after a crash without an order)."""
        self._again: deque[Entry] = deque()
        """Requests that failed in an earlier run; they keep their ranks and come first."""
        self._left_out: list[tuple[FollowUp, str]] = []
        self._left_out_before: dict[int, list[tuple[FollowUp, str]]] = {}
        """What was left out between two ranks; it counts when the second one is committed."""
        self._without_page = 0
        """Committed ranks whose pages were left out."""
        self.known = 0
        """No rank is above; in a crawl that wasn't resumed, how many were given."""
        self.skipped: dict[str, int] = {}

    @property
    def foreseen(self) -> int | None:
        """Pages known so far; None while start requests are still being taken."""
        return None if self._start is not None else self.known + self._journal.queued

    @property
    def is_exhausted(self) -> bool:
        """Whether no request is left that could get a rank."""
        if self._again:
            return False
        if self._is_full:
            return True
        return self._start is None and not self._journal.queued

    @property
    def has_started(self) -> bool:
        """Whether all start requests have their rank."""
        return self._start is None

    @property
    def _is_full(self) -> bool:
        return not (self._gaps or self.has_room_for(0))

    @property
    def next_rank(self) -> int:
        """No rank that will be given is below."""
        return self._again[0].rank if self._again else self.known

    def next(self) -> Entry | None:
        """The next request with its rank, or None if there is none (yet)."""
        if self._again:
            return self._again.popleft()
        if self._is_full:
            return None
        entry = self._next_start() or self._next_follow_up()
        if entry is not None and self._left_out:
            self._left_out_before[entry.rank] = self._left_out
            self._left_out = []
        return entry

    def _next_rank(self) -> int:
        if self._gaps:
            return self._gaps.popleft()
        self.known += 1
        return self.known - 1

    def _next_start(self) -> Entry | None:
        while self._start is not None:
            request = self._take_start()
            if request is None:
                self._check_start(None)
                self._start = None
                self._starts = self._starts_taken
                return None
            place = self._starts_taken
            self._starts_taken += 1
            if place < self.known and place not in self._gaps:
                self._check_start(request)
                continue
            mark = self.mark_of(request)
            self._started.add(mark)
            self._scope.add_start(host(request.url))
            return Entry(self._next_rank(), request, fingerprint=mark, is_start=True, place=place)
        return None

    def _take_start(self) -> Request | None:
        if self._start is None or self._starts_taken == self._starts:
            return None
        try:
            return next(self._start, None)
        except CrawlError:
            raise
        except (Exception, SystemExit) as error:
            raise failed_start(error) from error

    def _check_start(self, request: Request | None) -> None:
        """Refuse a start that isn't the one that the run began with."""
        place, url, _ = next(self._done_starts, (0, None, None))
        if url != (None if request is None else request.url):
            now = "missing" if request is None else request.url
            raise UsageError(
                f"the start of the crawl has changed: request {place + 1} was {url}, now it is "
                f"{now}; the run can't be resumed, begin a new one"
            )

    def _next_follow_up(self) -> Entry | None:
        while (link := self._journal.take()) is not None:
            if link.fingerprint in self._started and not link.request.dont_filter:
                self._leave_out_later(link, "duplicate")
            elif not (link.is_in_scope or self._scope.is_start(host(link.request.url))):
                self._leave_out_later(link, "scope")
            else:
                return Entry(
                    self._next_rank(),
                    link.request,
                    depth=link.depth,
                    fingerprint=link.fingerprint,
                    place=link.place,
                    parent=link.parent,
                )
        return None

    def _leave_out_later(self, link: FollowUp, reason: str) -> None:
        self._unwanted(link.fingerprint)
        self._left_out.append((link, reason))

    # At commit.

    def committed(self, entry: Entry, result: Result) -> str | None:
        """An entry is being committed. Says why its page is left out, if it is.

        That is the case for a follow-up that was redirected to a page asked for before, or out of
        scope, or that robots.txt forbids. A start page's redirect widens the scope: sites move to
        `www.`.
        """
        self._settle(self._left_out_before.pop(entry.rank, ()))
        reason = self._why_no_page(entry, result)
        if reason is not None:
            self._without_page += 1
            self._leave_out(reason, entry.target, entry.parent)
        return reason

    def _why_no_page(self, entry: Entry, result: Result) -> str | None:
        is_forbidden = result.failure is not None and result.failure.kind == "robots"
        if is_forbidden and not entry.is_start:
            return "robots"
        if not entry.target.history:
            return None
        mark = self.mark_of(entry.target)
        is_new = self._seen.add(mark) and mark not in self._started
        if is_new:
            self._unwanted(mark)  # links to it are duplicates from now on
        if entry.is_start:
            self._scope.add_redirected(host(entry.target.url))
            return None
        if not is_new and not entry.request.dont_filter:
            return "duplicate"
        if not self._scope.allows(entry.target.url):
            return "scope"
        return None

    def follow(
        self, entry: Entry, requests: Iterable[Request], *, items: Iterable[Item] = ()
    ) -> int | None:
        """Queue the follow-ups of a page that is being committed and gave `items`, in their order.

        Gives back the highest priority of them. One that is left out as a trap isn't seen by that:
        another page may still lead to it.
        """
        depth = entry.depth + 1
        too_deep = self._is_too_deep(depth)
        highest: int | None = None
        new: list[tuple[Request, bytes]] = []
        for request, known_mark in zip_longest(requests, entry.marks):
            mark = known_mark or self.mark_of(request)
            reason = self._scope.denies(request.url) or too_deep
            if reason is None and not request.dont_filter:
                is_known = mark in self._seen
                reason = "duplicate" if is_known else self._catches(request, depth)
            if reason is None:
                self._seen.add(mark)
                new.append((request, mark))
                continue
            if reason != "duplicate":
                self._unwanted(mark)
            self._leave_out(reason, request, entry.rank)
        if self._families is not None:
            new = self._without_endless(self._families, entry, new, items)
        for request, mark in new:
            is_in_scope = self._scope.allows(request.url)
            self._journal.add(FollowUp(request, mark, depth, is_in_scope, entry.rank))
            if highest is None or request.priority > highest:
                highest = request.priority
        return highest

    def _is_too_deep(self, depth: int) -> str | None:
        """`depth`, if it is more than a follow-up may have."""
        return "depth" if self._max_depth is not None and depth > self._max_depth else None

    def _catches(self, request: Request, depth: int) -> str | None:
        """The trap that a follow-up leads into. Who sets a depth knows how deep the site is."""
        if self._families is None or request.dont_filter:
            return None
        return catches(request.url, depth if self._max_depth is None else None)

    def _without_endless(
        self,
        families: Families,
        entry: Entry,
        new: list[tuple[Request, bytes]],
        items: Iterable[Item],
    ) -> list[tuple[Request, bytes]]:
        """Those of a page's new follow-ups that may lead somewhere."""
        links = [request.url for request, _ in new]
        verdicts = families.going_nowhere(entry.target.url, items, links)
        if not any(verdicts):
            return new
        kept = []
        for (request, mark), is_endless in zip(new, verdicts, strict=True):
            if is_endless and not request.dont_filter:
                self._seen.discard(mark)
                self._unwanted(mark)
                self._leave_out("trap-variants", request, entry.rank)
            else:
                kept.append((request, mark))
        return kept

    def give_back(self, entries: Iterable[Entry], *, below: int) -> None:
        """Take the ranks of these entries, the last that were given, back: others come first.

        They are those of a priority `below` the others'.
        """
        links = []
        # Left out in the order of their priorities: the last ones have the lowest.
        while self._left_out and self._left_out[-1][0].request.priority < below:
            links.append(self._left_out.pop()[0])
        for entry in entries:
            links += [link for link, _ in self._left_out_before.pop(entry.rank, ())]
            links.append(
                FollowUp(
                    entry.request, entry.fingerprint, entry.depth, True, entry.parent, entry.place
                )
            )
            self.known = min(self.known, entry.rank)
        for link in links:
            self._journal.give_back(link)

    def done(self, entry: Entry, result: Result, *, items: int, left_out: str | None) -> None:
        """Note what became of an entry: `items` were written, or it was left out."""
        if entry.is_start and not entry.is_again:
            self._journal.started(entry.place, entry.request, entry.fingerprint)
        if entry.attempts > 1:
            self._journal.attempted(entry.fingerprint, 0)
        moved_to = entry.moved_to
        self._journal.done(
            entry.place,
            Outcome(  # in their order, for by name it takes twice as long
                left_out or (result.failure.kind if result.failure else "ok"),
                entry.rank,
                result.status,
                entry.attempts,
                items,
                result.fetch_seconds + result.spider_seconds,
                result.worker,
                None if moved_to is None else moved_to.url,
                None if moved_to is None else self.mark_of(moved_to),
            ),
        )

    def settle(self) -> None:
        """Count what was left out at the end of the queue; nothing will get a rank any more."""
        self._settle(self._left_out)
        self._left_out = []

    def _settle(self, left_out: Iterable[tuple[FollowUp, str]]) -> None:
        for link, reason in left_out:
            self._leave_out(reason, link.request, link.parent)
            self._journal.done(link.place, Outcome(outcome=reason))

    def _leave_out(self, reason: str, request: Request, parent: int | None) -> None:
        if reason not in self.skipped and reason in ADVICE:
            log.warning("%s: %s is not followed: %s", reason, request.url, ADVICE[reason])
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        if self._skip is not None:
            self._skip({"url": request.url, "reason": reason, "parent": parent})

    def end_start(self, last: Entry, behind: Iterable[Entry]) -> None:
        """Take no more start requests, and forget those behind the last one that counts."""
        self._start = None
        for entry in behind:
            self._started.discard(entry.fingerprint)
        self.known = last.rank + 1
        self._starts = self.known

    def is_start_host(self, name: str) -> bool:
        """Whether a start request, of those taken so far, goes to this host."""
        return self._scope.is_start(name)

    def mark_of(self, request: Request) -> bytes:
        """The request's fingerprint; a URL that is none has one too."""
        if request.body is not None:
            return self._new_mark(request)
        key = (request.url, request.method, request.session)
        mark = self._marks.get(key)
        if mark is None:
            if len(self._marks) >= _MARKS:
                self._marks.clear()
            mark = self._marks[key] = self._new_mark(request)
        return mark

    def _new_mark(self, request: Request) -> bytes:
        try:
            return self._mark(request)
        except ValueError:  # it fails its page on the worker, and once is enough
            return request.url.encode("utf-8", "surrogatepass")

    # For those that look ahead.

    def may_get_rank(self, request: Request, mark: bytes, depth: int) -> bool:
        """Whether, as far as is known now, a follow-up at that depth is going to get a rank."""
        if mark in self._seen or mark in self._started:
            return False
        if self._is_too_deep(depth) or self._catches(request, depth):
            return False
        if self._scope.denies(request.url):
            return False
        return self._scope.allows(request.url)

    def has_room_for(self, more: int) -> bool:
        """Whether yet another request can get a rank, after so many.

        Those that turned out to be no pages of the crawl make room for others.
        """
        if self._max_pages is None:
            return True
        return self.known - self._without_page + more < self._max_pages

    # A resumed crawl.

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the journal's own."""
        families = None if self._families is None else self._families.state()
        return {
            "starts": self._starts,
            "skipped": self.skipped,
            "without_page": self._without_page,
            "families": families,
        }

    @property
    def undone(self) -> list[int]:
        """The ranks below `known` that aren't done, when a crawl is resumed."""
        return sorted([*self._gaps, *(entry.rank for entry in self._again)])

    def resume(self, state: dict[str, Any]) -> int:
        """Go on where the journal ends; how many ranks are done."""
        self._again = deque(map(_put_back, self._journal.put_back()))
        done = -len(self._again)
        for rank in self._journal.ranks():
            self._gaps.extend(range(self.known, rank))
            self.known = rank + 1
            done += 1
        self.skipped = state["skipped"]
        self._without_page = state.get("without_page", 0)
        if self._families is not None and state.get("families") is not None:
            self._families.resume(state["families"])
        starts = 0
        for _, url, final_url in self._journal.start_urls():
            starts += 1
            self._scope.add_start(host(url))
            if final_url is not None:
                self._scope.add_redirected(host(final_url))
        self._done_starts = islice(self._journal.start_urls(), starts)
        for mark in self._journal.started_fingerprints():
            self._started.add(mark)
        for mark in self._journal.followed_fingerprints():
            self._seen.add(mark)
        self._starts = state["starts"]
        if starts == self._starts:
            self._start = None
        return done


def _put_back(link: FollowUp) -> Entry:
    """A request that is to be fetched again, as it was."""
    if link.rank is None:
        raise ValueError(f"{link.request.url} was never done")
    return Entry(
        link.rank,
        link.request,
        depth=link.depth,
        fingerprint=link.fingerprint,
        is_start=link.place < FIRST_FOLLOW_UP,
        is_again=True,
        place=link.place,
        parent=link.parent,
    )
