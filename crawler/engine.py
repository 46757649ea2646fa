"""The loop that moves requests and results between all stages; the only module that sees them all.

    spider start --> scheduler [dupefilter > frontier > politeness] --Request--> executor --> worker
                         ^   ^                                         [fetcher > Response > spider]
                         |   |                                                                    |
                         |   +-- not done: retry, redirect (same rank) -- engine <----------------+
                         |                                                   |             Result
                         +------- follow-ups, at commit ---- engine <-- collector (in order)
                                                                 |
     output/NAME.json <-- exporter <-- pipeline <-- items, at commit, with their files

- Only two things cross to the worker and back: (spider reference, Request) going in, a Result
  coming out. Both are plain data, so threads and processes are the same to the engine.
- Whatever decides is done at commit, in the order of the ranks: what is written, where the crawl
  ends. So timing can't change it.
- Files that a page's items wait for are fetched like pages, before any page, and stored by the
  worker; the page stays with the collector until it has them all (see `crawler.downloads`).
- The engine runs in the caller's thread. Executors answer through one completion queue.
"""

from __future__ import annotations

import logging
import queue
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from crawler.accounting import Accounting, combined
from crawler.collector import Collector
from crawler.cookies import CookieJars
from crawler.download import Wanted, by_item
from crawler.downloads import Downloads, Missed, may_be_private
from crawler.entry import Entry
from crawler.errors import (
    CrawlError,
    OutputError,
    PageTimeoutError,
    UsageError,
    WorkerDiedError,
)
from crawler.journal import Journal
from crawler.limits import Limits
from crawler.pipeline import Pipeline
from crawler.refusals import Refusals
from crawler.request import Request
from crawler.result import Failure, Item, Result
from crawler.scheduler import Scheduler
from crawler.step import Page
from crawler.worker import (
    download,
    download_async,
    read_robots,
    read_robots_async,
    run,
    run_async,
)

GONE = frozenset({404, 410})
_MAX_FAILED_IN_A_ROW = 10
_SECONDS_BETWEEN_CHECKPOINTS = 0.2
_CHECKPOINT_SHARE = 0.02
"""Of the time that may go into checkpoints; on a slow disk there are fewer of them."""
# A signal that the kernel gives to another thread doesn't end the main thread's wait for a lock;
# Python runs the handler once the wait is over.
_LONGEST_WAIT = 0.5

log = logging.getLogger("crawler.engine")


class Sink(Protocol):
    """Where the engine puts what it commits."""

    def write(self, items: list[Item]) -> None:
        """The items of one page, in order."""
        ...

    def fail(self, record: dict[str, Any]) -> None:
        """A page, or an item of one, that failed."""
        ...

    def sync(self) -> dict[str, int]:
        """Bring what is written to the disk; how long each file is now."""
        ...

    def checkpointed(self) -> None:
        """The journal knows of what `sync` brought to the disk: it will not be cut off again."""
        ...


class Gauge(Protocol):
    """Shows the engine's counters to others."""

    def update(self, **counters: int) -> None:
        """Set some counters by name."""
        ...


@dataclass(slots=True)
class Stats:
    """What a crawl did. Times are seconds, summed over all requests."""

    pages: int = 0
    """Pages committed, failed ones excluded."""
    failed: int = 0
    items: int = 0
    failed_items: int = 0
    """Items for which a step raised."""
    files: int = 0
    """URLs whose files are in items, by the end of the crawl."""
    file_bytes: int = 0
    """Their sizes."""
    unchanged_files: int = 0
    """Those of them that earlier runs had fetched already."""
    failed_files: int = 0
    """URLs whose files are missing in items."""
    dropped: int = 0
    """Items that a step dropped."""
    requests: int = 0
    """Attempts, redirects included."""
    robots: int = 0
    """Requests for robots.txt, which are not among them."""
    retries: int = 0
    redirects: int = 0
    body_bytes: int = 0
    worker_deaths: int = 0
    gave_up: str | None = None
    """Why `until-empty` ended before it found the end."""
    stopped_by: str | None = None
    """The limit at which the crawl stopped before it was complete."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Links that were not followed, by reason."""
    statuses: dict[int, int] = field(default_factory=dict)
    """Answers by status."""
    failures: dict[str, int] = field(default_factory=dict)
    """Failed pages (and, as `pipeline`, items) by cause: `timeout`, `status 404` ..."""
    retried: dict[str, int] = field(default_factory=dict)
    """Attempts that were followed by another one, by the cause of their failure."""
    refused: int = 0
    """Pages that failed since their host keeps us out."""
    blocked: dict[str, int] = field(default_factory=dict)
    """Hosts that gave nothing but refusals, or were given up, with their missing pages."""
    fetch_seconds: float = 0.0
    spider_seconds: float = 0.0
    soup_seconds: float = 0.0
    """CPU seconds of these in which `response.soup` was made."""
    seconds: float = 0.0
    """How long the crawl ran."""
    cpu_seconds: float = 0.0
    """What the process that ran it computed in that time, all its threads together."""
    time: dict[str, float] = field(default_factory=dict)
    """Where the time went, as shares of what all slots could have done; see `accounting`."""


class _Deadline(NamedTuple):
    """When an attempt has taken too long, and how long that is."""

    limit: float
    at: float


class Engine:
    """Runs one crawl; see the module's picture."""

    def __init__(
        self,
        *,
        reference: str,
        scheduler: Scheduler,
        executor: Executor,
        slots: int,
        collector: Collector,
        journal: Journal,
        pipeline: Pipeline,
        sink: Sink,
        gauge: Gauge,
        until_empty: bool = False,
        max_items: int | None = None,
        limits: Limits | None = None,
        cookies: CookieJars | None = None,
        downloads: Downloads | None = None,
        page_timeout: float = 180.0,
        file_timeout: float = 600.0,
        total: int | None = None,
        checkpoint_every: float = _SECONDS_BETWEEN_CHECKPOINTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reference = reference
        self._scheduler = scheduler
        self._executor = executor
        on_loop = getattr(executor, "runs_coroutines", False)
        # What it gives back is a Result in a Future, also when it is a coroutine function.
        self._run: Callable[..., Any] = run_async if on_loop else run
        self._read_robots: Callable[..., Any] = read_robots_async if on_loop else read_robots
        self._download: Callable[..., Any] = download_async if on_loop else download
        self._slots = slots
        self._collector = collector
        self._journal = journal
        self._pipeline = pipeline
        self._sink = sink
        self._gauge = gauge
        self._until_empty = until_empty
        self._max_items = max_items
        self._limits = limits or Limits()
        self._cookies = cookies
        self._downloads = downloads
        self._page_timeout = page_timeout
        self._file_timeout = file_timeout
        self._in_flight: dict[Future[Result], _Deadline] = {}
        """When each attempt on a worker takes too long."""
        self._look_again_at = 0.0
        self._total = total
        self._clock = clock
        # A SimpleQueue, because a signal handler may put into it while the loop gets from it.
        self._completions: queue.SimpleQueue[tuple[Entry, Future[Result]] | None]
        self._completions = queue.SimpleQueue()
        self._fresh: list[tuple[Entry, Result]] = []
        """Pages with links that came just now."""
        self._is_stopped = False
        self._is_cut = False
        self._failed_in_a_row = 0
        self._checkpoint_every = checkpoint_every
        self._checkpoint_at = 0.0
        self._has_news = False
        """Whether anything happened since the last checkpoint; a crawl may wait for long."""
        self._accounting = Accounting(slots, clock=clock)
        self._cpu_began = time.process_time()
        self._refusals = Refusals()
        self._before = Stats()
        """What earlier sessions of this run did."""
        self.stats = Stats()

    @property
    def in_flight(self) -> int:
        """Requests on workers; after the crawl, those that lie behind its end."""
        return len(self._in_flight)

    def stop(self) -> None:
        """Hand out no more, finish what is in flight. For signal handlers and other threads."""
        self._is_stopped = True
        self._completions.put(None)

    def resume(self) -> None:
        """Go on where the journal ends."""
        state = self._journal.state()
        if state is None:
            return  # it ended before its first checkpoint
        done = self._scheduler.resume(state["scheduler"])
        self._collector.resume(done, self._scheduler.undone)
        self._failed_in_a_row = state["failed_in_a_row"]
        self._is_cut = state["is_cut"]
        if self._cookies is not None:
            try:
                self._cookies = CookieJars.from_json(self._journal.cookies())
            except ValueError as error:
                raise UsageError(f"the run's cookies can't be read: {error}") from None
        self._refusals.resume(state["refusals"])
        statuses = {int(status): count for status, count in state["stats"]["statuses"].items()}
        self._before = Stats(**{**state["stats"], "statuses": statuses, "stopped_by": None})
        self.stats = replace(self._before)

    def crawl(self) -> bool:
        """Work until everything is committed. False if it was stopped before."""
        self._accounting.begins()
        self._cpu_began = time.process_time()
        log.info("started")
        try:
            self._loop()
            if self._has_nothing_left():
                self._scheduler.settle()
            if self._downloads is not None:
                stats = self.stats
                stats.files, stats.file_bytes, stats.unchanged_files = self._downloads.stored()
            self._checkpoint()
            self._accounting.committed(self.in_flight)
        finally:
            self._take_stock()
            log.info("ended with %d pages, %d failed", self.stats.pages, self.stats.failed)
        return not self._is_stopped or self._has_nothing_left()

    def _checkpoint(self) -> None:
        """Make durable what is committed; a resumed crawl goes on from here."""
        started = self._clock()
        self._has_news = False
        self._pipeline.sync()
        if self._downloads is not None:
            self._downloads.sync()
        offsets = self._sink.sync()
        self._take_stock()
        cookies = None
        if self._cookies is not None and self._cookies.is_changed:
            cookies = self._cookies.as_json()
        self._journal.checkpoint(
            {
                "offsets": offsets,
                "stats": asdict(self.stats),
                "scheduler": self._scheduler.state(),
                "failed_in_a_row": self._failed_in_a_row,
                "is_cut": self._is_cut,
                "refusals": self._refusals.state(),
            },
            cookies,
        )
        self._sink.checkpointed()
        if self._checkpoint_every:  # else after each commit
            took = self._clock() - started
            self._checkpoint_at = started + max(self._checkpoint_every, took / _CHECKPOINT_SHARE)

    def _take_stock(self) -> None:
        """Bring those statistics up to date that others keep."""
        stats, before = self.stats, self._before
        stats.worker_deaths = before.worker_deaths + getattr(self._executor, "deaths", 0)
        seconds = self._accounting.seconds
        stats.seconds = before.seconds + seconds
        stats.cpu_seconds = before.cpu_seconds + time.process_time() - self._cpu_began
        stats.time = combined(before.time, before.seconds, self._accounting.shares(), seconds)
        stats.skipped = self._scheduler.skipped
        stats.refused, stats.blocked = self._refusals.pages, self._refusals.hosts

    def _heed_limits(self) -> None:
        limit = self._limits.reached(
            seconds=self._accounting.seconds,
            body_bytes=self.stats.body_bytes - self._before.body_bytes,
            failures=self.stats.failed - self._before.failed,
        )
        if limit is not None and not self._is_stopped:
            self.stats.stopped_by = limit
            self._is_stopped = True

    def _loop(self) -> None:
        while True:
            self._heed_limits()
            self._show()
            self._hand_out()
            self._commit()  # what was fetched ahead may have got its rank just now
            if self._is_over():
                break
            self._show()
            completion = self._next_completion()
            self._give_up_overdue()
            while completion is not None:
                self._returned(*completion)
                completion = self._completion_at_hand()
            self._commit()
            self._look_ahead()
            if self._has_news and self._clock() >= self._checkpoint_at:
                self._checkpoint()
            self._accounting.committed(self.in_flight)

    def _hand_out(self) -> None:
        while not self._is_stopped and self.in_flight < self._slots:
            entry = self._scheduler.next(self._collector.max_rank)
            if entry is None and self._may_speculate():
                entry = self._scheduler.next_ahead()
            if entry is None:
                return
            if entry.result is not None:
                self._hold(entry, entry.result)
                continue
            future = self._submit(entry)
            limit = self._page_timeout if entry.file is None else self._file_timeout
            self._in_flight[future] = _Deadline(limit, self._clock() + limit)
            future.add_done_callback(partial(self._complete, entry))

    def _submit(self, entry: Entry) -> Future[Result]:
        private = self._scheduler.may_be_private(entry)
        if entry.is_robots:
            return self._executor.submit(self._read_robots, entry.target, private=private)
        self.stats.requests += 1
        request = self._with_cookies(entry.target)
        if entry.file is not None and self._downloads is not None:
            private, order = may_be_private(entry), self._downloads.order(entry)
            return self._executor.submit(self._download, request, order, private=private)
        return self._executor.submit(self._run, self._reference, request, private=private)

    def _with_cookies(self, request: Request) -> Request:
        """A copy for the wire: what the jars add must not stay with the request."""
        if self._cookies is None:
            return request
        own = next((name for name in request.headers if name.lower() == "cookie"), None)
        given = None if own is None else request.headers[own]
        cookie = self._cookies.header(request.url, request.session, given)
        if cookie == given or cookie is None:
            return request
        return replace(request, headers={**request.headers, own or "Cookie": cookie})

    def _complete(self, entry: Entry, future: Future[Result]) -> None:
        self._completions.put((entry, future))

    def _may_speculate(self) -> bool:
        """Whether there is room for results that can't be committed yet."""
        return self._collector.has_room_for(
            self._scheduler.ahead_results, self._scheduler.ahead_bytes
        )

    def _is_over(self) -> bool:
        # What is in flight when all ranks are committed lies behind the end and isn't waited for.
        return self._has_nothing_left() or (self._is_stopped and not self._in_flight)

    def _has_nothing_left(self) -> bool:
        all_committed = self._collector.head >= self._scheduler.known
        return self._is_cut or (all_committed and self._scheduler.is_exhausted)

    def _next_completion(self) -> tuple[Entry, Future[Result]] | None:
        timeout = _LONGEST_WAIT
        why = {"stop": 1}  # if slots are empty at all
        if self.in_flight < self._slots and not self._is_stopped:
            max_rank = self._collector.max_rank
            due = self._scheduler.seconds_to_next(max_rank, may_speculate=self._may_speculate())
            timeout = timeout if due is None else min(due, timeout)
            why = self._scheduler.why_idle(max_rank)
        self._accounting.waits(self.in_flight, why)
        try:
            return self._completions.get(timeout=timeout)
        except queue.Empty:
            return None
        finally:
            self._accounting.wakes()

    def _give_up_overdue(self) -> None:
        """Free the slots of pages that take too long, if the executor knows how."""
        now = self._clock()
        abandon = getattr(self._executor, "abandon", None)
        if abandon is not None and now >= self._look_again_at:
            self._look_again_at = now + _LONGEST_WAIT
            late = [(future, each) for future, each in self._in_flight.items() if each.at <= now]
            for future, deadline in late:
                left = abandon(future, deadline.limit)
                self._in_flight[future] = deadline._replace(at=now + left)

    def _completion_at_hand(self) -> tuple[Entry, Future[Result]] | None:
        try:
            return self._completions.get_nowait()
        except queue.Empty:
            return None

    def _returned(self, entry: Entry, future: Future[Result]) -> None:
        """An attempt is over: hold its result, or put the request back under its rank."""
        self._has_news = True
        busy = self.in_flight
        del self._in_flight[future]
        result = _result_of(future)
        self._accounting.worked(busy, fetch=result.fetch_seconds, spider=result.spider_seconds)
        self._scheduler.returned(entry, result)
        if result.status is not None and not result.is_private:
            self._scheduler.answered_publicly(entry)
        if entry.is_robots:
            self.stats.robots += 1
            self._scheduler.robots_returned(entry, result)
            return
        if self._cookies is not None and result.set_cookies:
            self._cookies.store(entry.target.url, result.set_cookies, entry.target.session)
        if entry.is_void:
            return
        self._count(result)
        failure = result.failure
        if result.redirect is not None and result.status is not None:
            failure = self._scheduler.redirect(entry, result.status, result.redirect)
            if failure is None:
                self.stats.redirects += 1
                return
            result = Result(failure=failure, status=result.status)
        if failure is not None and self._scheduler.retry(entry, failure):
            self.stats.retries += 1
            _add_one(self.stats.retried, failure.cause)
            extra = {"kind": failure.kind}
            log.info("trying again: %s (%s)", entry.target.url, failure.message, extra=extra)
            return
        if result.follow:
            self._fresh.append((entry, result))
        if self._downloads is not None:
            for file in self._downloads.want(entry, result):
                self._scheduler.fetch_file(file)
        if entry.file is not None or not self._scheduler.finished_ahead(entry, result):
            self._hold(entry, result)

    def _look_ahead(self) -> None:
        """Have the links fetched of pages that came just now and can't be committed yet."""
        for entry, result in self._fresh:
            if entry.result is not None or self._collector.holds(entry):
                self._scheduler.speculate(entry, result.follow)
        self._fresh.clear()

    def _hold(self, entry: Entry, result: Result) -> None:
        """Keep what came of an entry until it is its turn; a file's is not waited with."""
        entry.result = None
        if entry.file is None or self._downloads is None:
            self._collector.hold(entry, result)
            return
        if result.failure is not None and result.failure.kind == "storage":
            raise OutputError(result.failure.message)
        self._downloads.returned(entry, result)
        self._scheduler.has_file(entry)

    def _is_complete(self, result: Result) -> bool:
        return self._downloads is None or self._downloads.is_complete(result)

    def _count(self, result: Result) -> None:
        self.stats.body_bytes += result.body_bytes
        self.stats.fetch_seconds += result.fetch_seconds
        self.stats.spider_seconds += result.spider_seconds
        self.stats.soup_seconds += result.soup_seconds
        if result.status is not None:
            _add_one(self.stats.statuses, result.status)

    def _commit(self) -> None:
        head = -1
        while head < self._collector.head and not self._is_cut:
            head = self._collector.head
            for entry, result in self._collector.ready(self._is_complete):
                self._commit_page(entry, result)
                if self._is_cut:
                    return
            # What was committed may have earned ranks for pages that are here already.
            for entry in self._scheduler.finished(self._collector.max_rank):
                if entry.result is not None:
                    self._hold(entry, entry.result)

    def _commit_page(self, entry: Entry, result: Result) -> None:
        self._has_news = True
        items = 0
        left_out = self._scheduler.committed(entry, result)
        if self._until_empty and entry.is_start and self._is_end(entry, result):
            left_out = "end"
        elif left_out is not None:
            self._scheduler.forget(result.follow)
        elif result.failure is not None:
            self._refusals.note(entry.host, result.failure)
            self._commit_failure(entry, result.failure)
        else:
            self._refusals.note(entry.host, None)
            items = self._commit_items(entry, result)
            for late in self._scheduler.follow(entry, result.follow, items=result.items):
                self._scheduler.take_back(late, self._collector.take_back(late.rank))
        self._scheduler.done(entry, result, items=items, left_out=left_out)

    def _is_end(self, entry: Entry, result: Result) -> bool:
        """Whether `--pages until-empty` ends here. A page that isn't there counts as empty."""
        if result.failure is not None and result.failure.status not in GONE:
            self._failed_in_a_row += 1
            if self._failed_in_a_row < _MAX_FAILED_IN_A_ROW:
                return False
            self.stats.gave_up = f"{self._failed_in_a_row} pages in a row failed"
            self._end_at(entry)
            return False
        self._failed_in_a_row = 0
        if result.items or result.follow:
            return False
        self._end_at(entry)
        return entry.rank > 0  # an empty end; but nothing at all is no end, it is a result

    def _end_at(self, entry: Entry) -> None:
        self._scheduler.end_start(entry)
        self._collector.forget_after(entry.rank)

    def _with_files(self, page: Entry, item: Item, wanted: list[Wanted]) -> Item:
        """The item with its files in it; those that are missed are listed, each once."""
        if self._downloads is None:
            return item
        item, missed = self._downloads.fill(item, wanted)
        for each in missed:
            self._commit_missed(page, each)
        return item

    def _commit_missed(self, page: Entry, missed: Missed) -> None:
        failure = missed.failure
        self.stats.failed_files += 1
        _add_one(self.stats.failures, f"file: {failure.cause}")
        record = _record(missed.entry, failure)
        self._sink.fail({**record, "rank": page.rank, "page": page.target.url})
        url = missed.entry.target.url
        log.warning("no file: %s (%s)", url, failure.message, extra={"kind": failure.kind})

    def _commit_items(self, entry: Entry, result: Result) -> int:
        """Write a page's items; how many the steps left."""
        self.stats.pages += 1
        # Items of a page that is fetched again go before others: where to cut is known at the end.
        limit = None if entry.is_again else self._max_items
        kept = result.items
        if self._pipeline or result.files or limit is not None:
            kept = self._kept(entry, result, limit)
        self._sink.write(kept)
        self.stats.items += len(kept)
        if limit is not None and self.stats.items >= limit:
            self._is_cut = True
        return len(kept)

    def _kept(self, entry: Entry, result: Result, limit: int | None) -> list[Item]:
        """A page's items, with their files, as the steps leave them."""
        kept: list[Item] = []
        page = _page(entry, result)
        files = by_item(result.files)
        for number, item in enumerate(result.items):
            if limit is not None and self.stats.items + len(kept) >= limit:
                break  # what isn't written is no step's business
            if number in files:
                item = self._with_files(entry, item, files[number])
            try:
                changed = self._pipeline.apply(item, page)
            except OutputError:
                raise  # nothing can be written any more
            except (Exception, SystemExit) as error:  # noqa: BLE001  (it fails its item only)
                failure = Failure(
                    "pipeline",
                    f"{type(error).__name__}: {error}",
                    traceback="".join(traceback.format_exception(error)),
                )
                self.stats.failed_items += 1
                self._sink.fail({**_record(entry, failure), "item": item})
                _add_one(self.stats.failures, failure.cause)
                log.warning("an item of %s failed: %s", entry.target.url, failure.message)
                continue
            if changed is None:
                self.stats.dropped += 1
            else:
                kept.append(changed)
        return kept

    def _commit_failure(self, entry: Entry, failure: Failure) -> None:
        self.stats.failed += 1
        _add_one(self.stats.failures, failure.cause)
        self._sink.fail(_record(entry, failure))
        extra = {"kind": failure.kind}  # the run's log counts each kind
        log.warning("failed: %s (%s)", entry.target.url, failure.message, extra=extra)
        if failure.traceback is not None:
            log.info("%s", failure.traceback.rstrip())

    def _show(self) -> None:
        known = self._scheduler.foreseen
        if known is None:
            known = self._total
        self._gauge.update(
            known=-1 if known is None else known,
            done=self.stats.pages + self.stats.failed,
            items=self.stats.items,
            failures=self.stats.failed,
            retries=self.stats.retries,
            in_flight=self.in_flight,
            held=len(self._collector) + self._scheduler.ahead_results,
            waiting=self._scheduler.waiting,
            deaths=getattr(self._executor, "deaths", 0),
        )


def _add_one(counts: dict[Any, int], key: object) -> None:
    counts[key] = counts.get(key, 0) + 1


def _result_of(future: Future[Result]) -> Result:
    try:
        return future.result()
    except WorkerDiedError as error:
        return Result(failure=Failure("worker", str(error)))
    except PageTimeoutError as error:
        return Result(failure=Failure("page-timeout", str(error)))
    except CrawlError:
        raise
    except Exception as error:
        raise CrawlError(f"the executor failed: {type(error).__name__}: {error}") from error


def _page(entry: Entry, result: Result) -> Page:
    return Page(entry.target.url, entry.rank, datetime.fromtimestamp(result.fetched_at, UTC))


def _record(entry: Entry, failure: Failure) -> dict[str, Any]:
    """A line of failed.jsonl."""
    record: dict[str, Any] = {
        "url": entry.target.url,
        "rank": entry.rank,
        "attempts": entry.attempts,
        "kind": failure.kind,
        "message": failure.message,
        "status": failure.status,
    }
    if entry.target.history:
        record["redirected_from"] = list(entry.target.history)
    if failure.traceback is not None:
        record["traceback"] = failure.traceback
    return record
