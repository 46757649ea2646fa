"""The loop: whatever the order in which workers answer, what is committed is the same."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from crawler import Response, Retry, run, spider
from crawler.collector import Collector
from crawler.demo import PracticeSite
from crawler.engine import Engine
from crawler.errors import CrawlError, WorkerDiedError
from crawler.journal import Journal
from crawler.pipeline import Pipeline
from crawler.politeness import Politeness
from crawler.request import Request
from crawler.result import Failure, Item, Result
from crawler.retry import RetryPolicy
from crawler.scheduler import Scheduler
from journals import journal_in_memory

Answer = Callable[[Request], Result]

AT_ONCE = RetryPolicy(wait=tenacity.wait_none())
BUSY = Failure("status", "the server answered 503", status=503, retryable=True)


class Shuffled(Executor):
    """Answers what it holds in an order drawn by lot, a few at a time, from another thread."""

    def __init__(self, answer: Answer, seed: int) -> None:
        self._answer = answer
        self._random = random.Random(seed)
        self._held: list[tuple[Future[Any], Request]] = []
        self.most_at_once = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        _, request = args
        future: Future[Any] = Future()
        self._held.append((future, request))
        self.most_at_once = max(self.most_at_once, len(self._held))
        threading.Thread(target=self._answer_one).start()
        return future

    def _answer_one(self) -> None:
        future, request = self._held.pop(self._random.randrange(len(self._held)))
        try:
            future.set_result(self._answer(request))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)


class Lists:
    """A sink that remembers, and a gauge that does nothing."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.failures: list[dict[str, Any]] = []

    def write(self, items: list[Item]) -> None:
        self.items += items

    def fail(self, record: dict[str, Any]) -> None:
        self.failures.append(record)

    def sync(self) -> dict[str, int]:
        return {"items": len(self.items), "failures": len(self.failures)}

    def checkpointed(self) -> None:
        pass

    def cut(self, offsets: dict[str, int]) -> None:
        """Forget what came after a checkpoint."""
        del self.items[offsets.get("items", 0) :]
        del self.failures[offsets.get("failures", 0) :]

    def update(self, **counters: int) -> None:
        pass


def make_engine(
    executor: Executor,
    start: Iterator[Request],
    *,
    slots: int = 4,
    window: int = 100,
    pipeline: Pipeline | None = None,
    until_empty: bool = False,
    retries: int = 2,
    max_pages: int | None = None,
    max_depth: int | None = None,
    journal: Journal | None = None,
    sink: Lists | None = None,
    checkpoint_every: float = 0.2,
    politeness: Politeness | None = None,
    retry: RetryPolicy = AT_ONCE,
) -> tuple[Engine, Lists]:
    sink = sink or Lists()
    journal = journal or journal_in_memory()
    engine = Engine(
        reference="unused:here",
        scheduler=Scheduler(
            start,
            politeness=politeness or Politeness(adaptive=False),
            retry=retry,
            retries=retries,
            max_pages=max_pages,
            max_depth=max_depth,
            journal=journal,
        ),
        executor=executor,
        slots=slots,
        collector=Collector(window=window, window_bytes=2**20),
        journal=journal,
        pipeline=pipeline or Pipeline(),
        sink=sink,
        gauge=sink,
        until_empty=until_empty,
        checkpoint_every=checkpoint_every,
    )
    return engine, sink


def pages(count: int) -> Iterator[Request]:
    return (Request(f"http://h{number % 3}/{number}") for number in range(count))


def number_of(request: Request) -> int:
    return int(request.url.rpartition("/")[2])


@given(
    count=st.integers(0, 30),
    slots=st.integers(1, 8),
    window=st.integers(1, 40),
    seed=st.integers(0, 1000),
    troubles=st.dictionaries(st.integers(0, 29), st.integers(1, 5), max_size=10),
)
def test_items_and_failures_are_the_same_for_any_timing(
    count: int, slots: int, window: int, seed: int, troubles: dict[int, int]
) -> None:
    """Each page fails as often as `troubles` says; more than two failures are given up."""
    asked: dict[int, int] = {}

    def answer(request: Request) -> Result:
        number = number_of(request)
        asked[number] = asked.get(number, 0) + 1
        if asked[number] <= troubles.get(number, 0):
            return Result(failure=BUSY, status=503)
        return Result(items=[{"n": number, "i": 0}, {"n": number, "i": 1}], status=200)

    executor = Shuffled(answer, seed)
    engine, sink = make_engine(executor, pages(count), slots=slots, window=window)
    assert engine.crawl()
    lost = [number for number in range(count) if troubles.get(number, 0) > 2]
    kept = [number for number in range(count) if number not in lost]
    assert sink.items == [{"n": number, "i": i} for number in kept for i in (0, 1)]
    assert [(record["rank"], record["attempts"]) for record in sink.failures] == [
        (number, 3) for number in lost
    ]
    assert executor.most_at_once <= slots
    assert engine.stats.pages == len(kept)
    assert engine.stats.failed == len(lost)
    assert engine.stats.requests == sum(asked.values())


@given(last=st.integers(0, 20), slots=st.integers(1, 8), seed=st.integers(0, 100))
def test_until_empty_ends_at_the_first_empty_page(last: int, slots: int, seed: int) -> None:
    def answer(request: Request) -> Result:
        number = number_of(request)
        return Result(items=[{"n": number}] if number < last else [], status=200)

    engine, sink = make_engine(Shuffled(answer, seed), pages(10**9), slots=slots, until_empty=True)
    assert engine.crawl()
    assert sink.items == [{"n": number} for number in range(last)]
    assert engine.stats.requests <= last + 1 + slots


@pytest.mark.parametrize("status", [404, 410])
def test_a_page_that_is_not_there_is_the_end_and_no_failure(status: int) -> None:
    def answer(request: Request) -> Result:
        if number_of(request) < 3:
            return Result(items=[{"n": number_of(request)}], status=200)
        return Result(failure=Failure("status", "gone", status=status), status=status)

    engine, sink = make_engine(Shuffled(answer, 1), pages(10**9), until_empty=True)
    assert engine.crawl()
    assert len(sink.items) == 3
    assert not sink.failures


def test_until_empty_does_not_go_on_for_ever_on_a_dead_site() -> None:
    engine, sink = make_engine(
        Shuffled(lambda _: Result(failure=Failure("connection", "refused")), 1),
        pages(10**9),
        until_empty=True,
    )
    assert engine.crawl()
    assert len(sink.failures) == 10


def test_one_slow_page_does_not_let_results_pile_up() -> None:
    """The first page answers last; the window bounds how far the others run ahead."""
    release = threading.Event()
    asked: list[int] = []

    def answer(request: Request) -> Result:
        asked.append(number_of(request))
        if number_of(request) == 0:
            assert release.wait(20)
        elif len(asked) == 6:
            release.set()
        return Result(items=[{"n": number_of(request)}], status=200)

    class Threads(Shuffled):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            threading.Thread(target=lambda: future.set_result(answer(args[1]))).start()
            return future

    engine, sink = make_engine(Threads(answer, 0), pages(50), slots=2, window=5)
    assert engine.crawl()
    assert sink.items == [{"n": number} for number in range(50)]
    assert max(asked[:6]) <= 5


def test_redirects_are_followed_under_the_same_rank() -> None:
    def answer(request: Request) -> Result:
        if "moved" not in request.url and number_of(request) == 1:
            return Result(redirect="/moved/1", status=302)
        return Result(items=[{"url": request.url, "from": list(request.history)}], status=200)

    engine, sink = make_engine(Shuffled(answer, 3), pages(3))
    assert engine.crawl()
    assert [item["url"] for item in sink.items] == [
        "http://h0/0",
        "http://h1/moved/1",
        "http://h2/2",
    ]
    assert sink.items[1]["from"] == ["http://h1/1"]
    assert engine.stats.redirects == 1
    assert engine.stats.retries == 0


def test_a_redirect_loop_is_a_failure_that_names_its_beginning() -> None:
    def answer(request: Request) -> Result:
        return Result(redirect=f"http://h/{number_of(request) % 2 + 1}", status=302)

    engine, sink = make_engine(Shuffled(answer, 0), iter([Request("http://h/1")]))
    assert engine.crawl()
    (record,) = sink.failures
    assert record["kind"] == "redirect"
    assert "began at http://h/1" in record["message"]
    assert record["attempts"] == 1


def test_a_dead_worker_fails_its_page() -> None:
    def answer(request: Request) -> Result:
        if number_of(request) == 1:
            raise WorkerDiedError("the worker process died on this page, twice")
        return Result(items=[{"n": number_of(request)}], status=200)

    engine, sink = make_engine(Shuffled(answer, 0), pages(3))
    assert engine.crawl()
    assert [item["n"] for item in sink.items] == [0, 2]
    assert sink.failures[0]["kind"] == "worker"


def test_a_broken_executor_ends_the_crawl_with_an_error() -> None:
    def answer(_: Request) -> Result:
        raise OSError("no more processes")

    engine, _ = make_engine(Shuffled(answer, 0), pages(3))
    with pytest.raises(CrawlError, match="no more processes"):
        engine.crawl()


def test_steps_see_items_in_order_and_their_errors_cost_one_item() -> None:
    seen: list[int] = []

    def step(item: Item) -> Item | None:
        seen.append(item["n"])
        if item["n"] == 2:
            raise KeyError("price")
        return None if item["n"] == 3 else {**item, "seen": len(seen)}

    engine, sink = make_engine(
        Shuffled(lambda r: Result(items=[{"n": number_of(r)}], status=200), 5),
        pages(5),
        pipeline=Pipeline([step]),
    )
    assert engine.crawl()
    assert seen == [0, 1, 2, 3, 4]
    assert [item["n"] for item in sink.items] == [0, 1, 4]
    assert engine.stats.dropped == 1
    (record,) = sink.failures
    assert (record["kind"], record["item"]) == ("pipeline", {"n": 2})


def test_stop_finishes_what_is_in_flight_and_commits_up_to_the_gap() -> None:
    engine: Engine

    def answer(request: Request) -> Result:
        if number_of(request) == 5:
            engine.stop()
        return Result(items=[{"n": number_of(request)}], status=200)

    engine, sink = make_engine(Shuffled(answer, 2), pages(1000), slots=2)
    assert not engine.crawl()
    assert [item["n"] for item in sink.items] == list(range(len(sink.items)))
    assert 5 <= len(sink.items) <= 9
    assert engine.in_flight == 0


def test_a_spider_may_ask_for_another_attempt(site: PracticeSite) -> None:
    """As often as `retries` says."""
    tries: list[str] = []

    @spider()
    def wary(response: Response) -> Item:
        tries.append(response.url)
        if len(tries) < 3:
            raise Retry("the page looks wrong", after=0.01)
        return {"tries": len(tries)}

    found = run(wary, urls=[f"{site.url}/empty"])
    assert (found.items, found.stats.retries) == ([{"tries": 3}], 2)
    tries.clear()
    found = run(wary, urls=[f"{site.url}/empty"], retries=1)
    assert found.failures[0]["message"] == "Retry: the page looks wrong"


def test_which_statuses_are_tried_again_can_be_set(site: PracticeSite) -> None:
    @spider()
    def nothing(_: Response) -> None: ...

    urls = [f"{site.url}/status/{status}" for status in (418, 500)]
    policy = RetryPolicy(wait=tenacity.wait_none())
    found = run(nothing, urls=urls, retry_statuses="418", retry=policy)
    assert [(f["status"], f["attempts"]) for f in found.failures] == [(418, 3), (500, 1)]


# ---- Where the time went ----


class Slow(Executor):
    """Answers each request after the seconds that its URL ends with."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        seconds = float(args[1].url.rpartition("/")[2])
        timer = threading.Timer(seconds, lambda: future.set_result(self.answer(seconds)))
        timer.daemon = True
        timer.start()
        return future

    def answer(self, seconds: float) -> Result:
        return Result(items=[{}], status=200, fetch_seconds=seconds)


class Busy(Slow):
    """Refuses the first request, and asks not to come back for a while."""

    is_busy = True

    def answer(self, seconds: float) -> Result:
        if not self.is_busy:
            return super().answer(seconds)
        self.is_busy = False
        return Result(failure=replace(BUSY, retry_after=self.retry_after), status=503)

    retry_after: float | None = 0.5


class Failing(Busy):
    """The same, but it doesn't say when to come back."""

    retry_after = None


def slow_pages(*seconds: float) -> Iterator[Request]:
    return (Request(f"http://h/{place}/{each}") for place, each in enumerate(seconds))


@pytest.mark.parametrize(
    ("what", "executor", "seconds", "politeness", "window"),
    [
        ("fetch", Slow(), [0.3] * 4, Politeness(), 100),
        ("delay", Slow(), [0.0] * 6, Politeness(0.1), 100),
        ("per_host", Slow(), [0.1] * 5, Politeness(per_host=1), 100),
        ("backoff", Busy(), [0.01] * 40, Politeness(adaptive=False), 100),
        ("order", Slow(), [0.5, 0.0, 0.0, 0.0, 0.0, 0.0], Politeness(), 3),
        ("retry", Failing(), [0.0], Politeness(), 100),
        ("empty", Slow(), [0.4], Politeness(), 100),
    ],
)
def test_the_reason_for_which_slots_were_empty_is_known(
    what: str, executor: Executor, seconds: list[float], politeness: Politeness, window: int
) -> None:
    engine, _ = make_engine(
        executor,
        slow_pages(*seconds),
        window=window,
        politeness=politeness,
        retry=RetryPolicy(wait=tenacity.wait_fixed(0.5)),
    )
    assert engine.crawl()
    assert sum(engine.stats.time.values()) == pytest.approx(1)
    assert next(iter(engine.stats.time)) == what, engine.stats.time


def test_while_it_stops_slots_are_empty_for_that() -> None:
    engine, _ = make_engine(Slow(), slow_pages(0.4, *[0.4] * 100), slots=4)
    threading.Timer(0.1, engine.stop).start()
    assert not engine.crawl()
    assert sum(engine.stats.time.values()) == pytest.approx(1)
    assert set(engine.stats.time) <= {"fetch", "stop", "commit", "other", "start"}


def test_retries_and_failures_are_counted_by_their_causes() -> None:
    def answer(request: Request) -> Result:
        if number_of(request) % 2:
            return Result(failure=BUSY, status=503)
        return Result(failure=Failure("timeout", "too slow", retryable=True))

    engine, _ = make_engine(Shuffled(answer, 1), pages(5), retries=1)
    assert engine.crawl()
    assert engine.stats.retried == {"timeout": 3, "status 503": 2}
    assert engine.stats.failures == {"timeout": 3, "status 503": 2}
    assert engine.stats.refused == 2
    assert engine.stats.blocked == {"h1": 1, "h0": 1}


def test_the_counts_of_a_resumed_crawl_are_those_of_all_its_sessions() -> None:
    journal, sink = journal_in_memory(), Lists()
    forbidden = Failure("status", "forbidden", status=403)

    def answer(request: Request) -> Result:
        if number_of(request) == 3:
            first.stop()
        if number_of(request) % 2:
            return Result(failure=forbidden, status=403)
        return Result(items=[{}], status=200, fetch_seconds=0.001)

    def ask_one_host(count: int) -> Iterator[Request]:
        return (Request(f"http://h{number % 2}/{number}") for number in range(count))

    first, _ = make_engine(
        Shuffled(answer, 0), ask_one_host(8), slots=1, journal=journal, sink=sink
    )
    assert not first.crawl()
    second, _ = make_engine(
        Shuffled(answer, 0), ask_one_host(8), slots=1, journal=journal, sink=sink
    )
    second.resume()
    assert second.crawl()
    assert second.stats.refused == 4
    assert second.stats.blocked == {"h1": 4}
    assert second.stats.failures == {"status 403": 4}
    assert second.stats.seconds > first.stats.seconds
    assert second.stats.cpu_seconds >= first.stats.cpu_seconds
    assert sum(second.stats.time.values()) == pytest.approx(1)
