"""Ranks, attempts and due times; with a clock of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import tenacity

from crawler import Request, RetryPolicy
from crawler.entry import Entry
from crawler.politeness import Politeness
from crawler.result import Failure
from crawler.scheduler import Scheduler
from journals import journal_in_memory

PASSING = Failure("timeout", "too slow", retryable=True)


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def scheduler_of(
    start: Iterator[Request],
    clock: Clock,
    *,
    delay: float = 0.0,
    serial: bool = False,
    retries: int = 2,
) -> Scheduler:
    return Scheduler(
        start,
        politeness=Politeness(delay, serial=serial),
        retry=RetryPolicy(wait=tenacity.wait_fixed(5)),
        retries=retries,
        journal=journal_in_memory(),
        clock=clock,
    )


def some(count: int, host: str = "x") -> Iterator[Request]:
    return (Request(f"http://{host}/{number}") for number in range(count))


def take(scheduler: Scheduler, max_rank: float = 1000) -> Entry:
    entry = scheduler.next(max_rank)
    assert entry is not None
    return entry


def test_start_requests_get_ranks_in_their_order(clock: Clock) -> None:
    scheduler = scheduler_of(some(3), clock)
    entries = [take(scheduler) for _ in range(3)]
    assert [(entry.rank, entry.request.url) for entry in entries] == [
        (0, "http://x/0"),
        (1, "http://x/1"),
        (2, "http://x/2"),
    ]
    assert [entry.attempts for entry in entries] == [1, 1, 1]
    assert scheduler.next(1000) is None
    assert scheduler.is_exhausted
    assert scheduler.known == 3


def test_an_endless_start_is_taken_only_as_far_as_there_is_room(clock: Clock) -> None:
    numbers = itertools.count()
    scheduler = scheduler_of((Request(f"http://x/{number}") for number in numbers), clock)
    assert [take(scheduler, max_rank=1).rank, take(scheduler, max_rank=1).rank] == [0, 1]
    assert scheduler.next(1) is None
    assert next(numbers) == 2
    assert not scheduler.is_exhausted


def test_a_host_that_rests_does_not_hold_up_the_others(clock: Clock) -> None:
    start = itertools.chain.from_iterable(zip(some(2, "a"), some(2, "b"), strict=True))
    scheduler = scheduler_of(start, clock, delay=10.0)
    assert [take(scheduler).request.url, take(scheduler).request.url] == [
        "http://a/0",
        "http://b/0",
    ]
    assert scheduler.next(1000) is None
    assert scheduler.seconds_to_next(1000) == 10.0
    clock.now += 4
    assert scheduler.seconds_to_next(1000) == 6.0
    clock.now += 6
    assert scheduler.seconds_to_next(1000) == 0.0
    assert [take(scheduler).request.url, take(scheduler).request.url] == [
        "http://a/1",
        "http://b/1",
    ]
    assert scheduler.seconds_to_next(1000) is None


def test_one_at_a_time_the_rest_begins_with_the_answer(clock: Clock) -> None:
    scheduler = scheduler_of(some(2), clock, delay=10.0, serial=True)
    entry = take(scheduler)
    clock.now += 7
    scheduler.returned(entry)
    assert scheduler.next(1000) is None
    assert scheduler.seconds_to_next(1000) == 10.0


def test_a_retry_keeps_its_rank_and_waits(clock: Clock) -> None:
    scheduler = scheduler_of(some(2), clock)
    first = take(scheduler)
    assert scheduler.retry(first, PASSING)
    assert scheduler.waiting == 1
    assert take(scheduler).rank == 1
    assert scheduler.next(1000) is None
    assert scheduler.seconds_to_next(1000) == 5.0
    clock.now += 5
    again = take(scheduler)
    assert (again.rank, again.attempts, again.request) == (0, 2, first.request)
    assert scheduler.waiting == 0


def test_retries_end(clock: Clock) -> None:
    scheduler = scheduler_of(some(1), clock, retries=1)
    assert scheduler.retry(take(scheduler), PASSING)
    clock.now += 5
    assert not scheduler.retry(take(scheduler), PASSING)
    assert scheduler.seconds_to_next(1000) is None


def test_a_failure_that_lasts_is_not_tried_again(clock: Clock) -> None:
    scheduler = scheduler_of(some(1), clock)
    assert not scheduler.retry(take(scheduler), Failure("status", "", status=404))


def test_a_retry_rests_like_any_other_request(clock: Clock) -> None:
    scheduler = scheduler_of(some(2), clock, delay=60.0)
    assert scheduler.retry(take(scheduler), PASSING)
    clock.now += 5
    assert scheduler.next(1000) is None
    assert scheduler.seconds_to_next(1000) == 55.0


def test_a_redirect_keeps_its_rank_and_costs_no_attempt(clock: Clock) -> None:
    scheduler = scheduler_of(some(2), clock)
    entry = take(scheduler)
    assert scheduler.redirect(entry, 302, "http://y/0") is None
    moved = take(scheduler)
    assert (moved.rank, moved.attempts) == (0, 1)
    assert moved.target == Request("http://y/0", history=("http://x/0",))
    assert moved.request == Request("http://x/0")


def test_a_redirect_goes_by_the_rest_of_where_it_leads(clock: Clock) -> None:
    scheduler = scheduler_of(some(1), clock, delay=10.0)
    assert scheduler.redirect(take(scheduler), 302, "http://y/0") is None
    assert take(scheduler).host == "y"
    scheduler = scheduler_of(some(1), clock, delay=10.0)
    assert scheduler.redirect(take(scheduler), 302, "/1") is None
    assert scheduler.next(1000) is None


def test_a_redirect_that_is_refused_is_a_failure(clock: Clock) -> None:
    scheduler = scheduler_of(some(1), clock)
    failure = scheduler.redirect(take(scheduler), 302, "file:///etc/hostname")
    assert failure is not None
    assert failure.kind == "redirect"
    assert scheduler.seconds_to_next(1000) is None


def test_the_start_can_be_ended(clock: Clock) -> None:
    scheduler = scheduler_of(some(4), clock)
    first, behind = take(scheduler), take(scheduler)
    scheduler.end_start(first)
    assert behind.is_void
    assert scheduler.is_exhausted
    assert scheduler.next(1000) is None
    assert scheduler.known == 1


def test_a_malformed_url_gets_its_rank_like_any_other(clock: Clock) -> None:
    scheduler = scheduler_of(iter([Request("http://[bad"), Request("http://x/")]), clock, delay=1.0)
    assert [take(scheduler).rank, take(scheduler).rank] == [0, 1]
