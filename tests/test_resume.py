"""Killed anywhere and resumed, a crawl has the same result; what was done isn't done again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import Request
from crawler.engine import Stats
from crawler.errors import CrawlError, UsageError
from crawler.fingerprint import fingerprint
from crawler.journal import Journal, Outcome
from crawler.refusals import Refusals
from crawler.result import Failure, Result
from journals import journal_in_memory
from test_engine import Lists, Shuffled, make_engine, number_of
from test_following import BUSY, GONE, Page, sites, url


class PowerCutError(RuntimeError):
    """The power is gone."""


class Site:
    """Answers as a made-up site does; may crash at one of its requests."""

    def __init__(self, pages: list[Page]) -> None:
        self._pages = pages
        self.asked: list[int] = []
        self.crash_at: int | None = None
        self._attempts: dict[int, int] = {}

    def answer(self, request: Request) -> Result:
        if self.crash_at is not None and len(self.asked) >= self.crash_at:
            raise PowerCutError
        number = number_of(request)
        self.asked.append(number)
        page = self._pages[number]
        self._attempts[number] = self._attempts.get(number, 0) + 1
        if self._attempts[number] <= page.failures:
            return Result(failure=BUSY, status=503)
        if page.moved_to is not None:
            return Result(redirect=url(page.moved_to), status=302)
        if page.is_gone:
            return Result(failure=GONE, status=404)
        return Result(items=[{"n": number}], follow=page.follow(self._pages))


def outcome(sink: Lists, stats: Stats) -> tuple[object, ...]:
    """All that must not depend on what happened on the way."""
    failures = [(record["url"], record["rank"], record["kind"]) for record in sink.failures]
    counts = asdict(stats)
    same = {name: counts[name] for name in ("pages", "failed", "items", "skipped", "failures")}
    return sink.items, failures, same


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@given(
    pages=sites,
    starts=st.lists(st.integers(0, 19), min_size=1, max_size=4),
    max_pages=st.none() | st.integers(1, 12),
    max_depth=st.none() | st.integers(0, 3),
    crashes=st.lists(st.integers(0, 30), max_size=3),
    every=st.sampled_from([0.0, 0.0, 0.001, 9.0]),
    slots=st.integers(1, 8),
    window=st.integers(1, 30),
    seed=st.integers(0, 10**6),
)
def test_f1_a_crash_anywhere_changes_nothing(
    place: Path,
    pages: list[Page],
    starts: list[int],
    max_pages: int | None,
    max_depth: int | None,
    crashes: list[int],
    every: float,
    slots: int,
    window: int,
    seed: int,
) -> None:
    path = place / "journal.sqlite"
    for old in place.iterdir():
        old.unlink()

    def session(site: Site, journal: Journal, sink: Lists) -> Stats:
        engine, _ = make_engine(
            Shuffled(site.answer, seed),
            iter([Request(url(number)) for number in starts]),
            slots=slots,
            window=window,
            retries=10,
            max_pages=max_pages,
            max_depth=max_depth,
            journal=journal,
            sink=sink,
            checkpoint_every=every,
        )
        sink.cut((journal.state() or {}).get("offsets", {}))
        engine.resume()
        assert engine.crawl()
        return engine.stats

    undisturbed = Lists()
    expected = outcome(undisturbed, session(Site(pages), journal_in_memory(), undisturbed))

    site, sink = Site(pages), Lists()
    stats = Stats()
    for crash_after in [*crashes, None]:
        journal = Journal.open(path) if path.exists() else Journal.create(path, durable=False)
        done = list(journal.start_urls())
        left = {*starts[len(done) :], *moved(pages)}
        before = len(site.asked)
        site.crash_at = None if crash_after is None else before + crash_after
        try:
            stats = session(site, journal, sink)
            break
        except CrawlError:
            assert crash_after is not None
        finally:
            journal.close()
            again = set(site.asked[before:])
            assert not again & {int(name.rpartition("/")[2]) for _, name, _ in done} - left
    assert outcome(sink, stats) == expected


def moved(pages: list[Page]) -> Iterator[int]:
    """Where redirects lead: these may be asked for under another request's rank."""
    return (page.moved_to for page in pages if page.moved_to is not None)


@pytest.mark.parametrize("now", [["a", "x", "c"], ["a"], []])
def test_a_start_that_changed_is_refused(tmp_path: Path, now: list[str]) -> None:
    def answer(request: Request) -> Result:
        if request.url.endswith("c"):
            raise PowerCutError
        return Result(items=[{}])

    def crawl(journal: Journal, names: list[str]) -> None:
        starts = iter([Request(f"http://h/{name}") for name in names])
        engine, _ = make_engine(
            Shuffled(answer, 0), starts, slots=1, journal=journal, checkpoint_every=0
        )
        engine.resume()
        engine.crawl()

    journal = Journal.create(tmp_path / "journal.sqlite")
    with pytest.raises(CrawlError, match="PowerCut"):
        crawl(journal, ["a", "b", "c"])
    journal.close()
    journal = Journal.open(tmp_path / "journal.sqlite")
    with pytest.raises(UsageError, match=r"the start of the crawl has changed: request [12] was"):
        crawl(journal, now)
    journal.close()


def test_attempts_survive(tmp_path: Path) -> None:
    """A page that may be tried three times isn't tried three times in each session."""
    attempts: list[int] = []

    def answer(request: Request) -> Result:
        attempts.append(number_of(request))
        if len(attempts) == 4:
            raise PowerCutError
        return Result(failure=Failure("timeout", "", retryable=True))

    path = tmp_path / "journal.sqlite"
    journal = Journal.create(path)
    engine, _ = make_engine(
        Shuffled(answer, 0),
        iter([Request(url(1))]),
        retries=5,
        journal=journal,
        checkpoint_every=0,
    )
    with pytest.raises(CrawlError, match="PowerCut"):
        engine.crawl()
    journal.close()
    journal = Journal.open(path)
    engine, sink = make_engine(
        Shuffled(answer, 0), iter([Request(url(1))]), retries=5, journal=journal
    )
    engine.resume()
    assert engine.crawl()
    assert sink.failures[0]["attempts"] == 6
    assert len(attempts) == 7, "the one that crashed doesn't count"
    journal.close()


def test_no_order_is_resumed_too(tmp_path: Path) -> None:
    """Without an order any ranks may be done; those that aren't are given again."""
    from crawler.collector import CompletionCollector

    path = tmp_path / "journal.sqlite"
    asked: list[int] = []
    crashes = [5, 20]
    sink = Lists()

    def answer(request: Request) -> Result:
        number = number_of(request)
        if crashes and len(asked) >= crashes[0]:
            del crashes[0]
            raise PowerCutError
        asked.append(number)
        return Result(items=[{"n": number}], follow=[Request(url(number * 2 + n)) for n in (1, 2)])

    sessions = 0
    while True:
        sessions += 1
        journal = Journal.open(path) if path.exists() else Journal.create(path)
        engine, _ = make_engine(
            Shuffled(answer, sessions),
            iter([Request(url(number)) for number in (1, 2, 3)]),
            slots=4,
            max_depth=3,
            journal=journal,
            sink=sink,
            checkpoint_every=0,
        )
        engine._collector = CompletionCollector(window=100, window_bytes=2**20)
        sink.cut((journal.state() or {}).get("offsets", {}))
        engine.resume()
        try:
            assert engine.crawl()
            break
        except CrawlError:
            journal.close()
    ranks = list(journal.ranks())
    journal.close()
    assert sessions == 3
    found = sorted(item["n"] for item in sink.items)
    assert found == sorted(set(found))
    assert len(found) == len(set(asked))
    assert all(after - before == 1 for before, after in pairwise(ranks))


def test_what_began_without_an_order_may_go_on_with_one(tmp_path: Path) -> None:
    """Ranks in between are missing; when they are done, it goes on behind all others."""
    journal = Journal.create(tmp_path / "journal.sqlite")
    for rank in (0, 2, 3, 6):
        request = Request(url(rank))
        journal.started(rank, request, fingerprint(request))
        journal.done(rank, Outcome(outcome="ok", rank=rank))
    starts = (Request(url(number)) for number in range(12))
    engine, sink = make_engine(
        Shuffled(lambda request: Result(items=[{"n": number_of(request)}]), 5),
        starts,
        journal=journal,
        slots=3,
        window=4,
    )
    scheduler: dict[str, object] = {"starts": None, "skipped": {}}
    state = {
        "stats": asdict(Stats(pages=4)),
        "scheduler": scheduler,
        "failed_in_a_row": 0,
        "refusals": Refusals().state(),
    }
    journal.checkpoint({**state, "is_cut": False})
    engine.resume()
    assert engine.crawl()
    journal.close()
    assert [item["n"] for item in sink.items] == [1, 4, 5, 7, 8, 9, 10, 11]
