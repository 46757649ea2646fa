"""Where the time went: on a clock of the test's own, every slot-second has one name."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.accounting import Accounting, combined


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Crawl:
    """An accounting and its clock."""

    def __init__(self, slots: int) -> None:
        self.clock = Clock()
        self.accounting = Accounting(slots, clock=self.clock)

    def wait(self, seconds: float, busy: int, **why: int) -> None:
        self.accounting.waits(busy, why)
        self.clock.now += seconds
        self.accounting.wakes()

    def shares(self) -> dict[str, float]:
        return {name: round(share, 6) for name, share in self.accounting.shares().items()}


def test_a_session_without_time_has_no_shares() -> None:
    assert Crawl(4).shares() == {}


def test_slots_at_work_fetch_or_are_in_the_spider() -> None:
    crawl = Crawl(2)
    crawl.wait(10.0, busy=2)
    for _ in range(2):
        crawl.accounting.worked(2, fetch=8.0, spider=2.0)
    assert crawl.shares() == {"fetch": 0.8, "spider": 0.2}


def test_empty_slots_have_the_reason_for_which_the_engine_waited() -> None:
    crawl = Crawl(4)
    crawl.wait(10.0, busy=1, delay=1)
    crawl.accounting.worked(1, fetch=10.0, spider=0.0)
    assert crawl.shares() == {"delay": 0.75, "fetch": 0.25}


def test_several_reasons_share_by_their_weights() -> None:
    crawl = Crawl(4)
    crawl.wait(10.0, busy=0, delay=3, backoff=1)
    assert crawl.shares() == {"delay": 0.75, "backoff": 0.25}


def test_while_results_are_taken_in_only_slots_without_work_count() -> None:
    crawl = Crawl(4)
    crawl.wait(8.0, busy=4)
    crawl.clock.now += 2.0
    crawl.accounting.committed(busy=2)
    for _ in range(2):
        crawl.accounting.worked(4, fetch=8.0, spider=0.0)
    for _ in range(2):
        crawl.accounting.worked(4, fetch=10.0, spider=0.0)
    assert crawl.shares() == {"fetch": 0.9, "commit": 0.1}


def test_the_start_ends_where_the_first_result_began() -> None:
    crawl = Crawl(4)
    crawl.wait(10.0, busy=2, empty=1)
    for _ in range(2):
        crawl.accounting.worked(2, fetch=6.0, spider=0.0)
    assert crawl.shares() == {"empty": 0.5, "fetch": 0.3, "start": 0.2}


def test_a_worker_that_died_at_first_tells_nothing_of_the_start() -> None:
    crawl = Crawl(1)
    crawl.wait(10.0, busy=1)
    crawl.accounting.worked(1, fetch=0.0, spider=0.0)
    assert crawl.shares() == {"other": 1.0}


def test_more_work_than_time_is_still_a_whole() -> None:
    """A result may be late: its page was given up, and its slot to another."""
    crawl = Crawl(1)
    crawl.wait(1.0, busy=1)
    crawl.accounting.worked(1, fetch=30.0, spider=10.0)
    assert crawl.shares() == {"fetch": 0.75, "spider": 0.25}


def test_sessions_count_by_their_length() -> None:
    assert combined({"fetch": 1.0}, 30.0, {"fetch": 0.5, "delay": 0.5}, 10.0) == {
        "fetch": 0.875,
        "delay": 0.125,
    }
    assert combined({}, 0.0, {"fetch": 1.0}, 3.0) == {"fetch": 1.0}
    assert combined({}, 0.0, {}, 0.0) == {}


seconds = st.floats(0, 1e6, allow_subnormal=False)
reasons = st.dictionaries(
    st.sampled_from(["delay", "backoff", "order", "empty"]), st.integers(1, 10**5), max_size=3
)


@given(
    slots=st.integers(1, 64),
    steps=st.lists(st.tuples(seconds, st.integers(0, 64), reasons, seconds, seconds, seconds)),
)
def test_the_shares_sum_to_one_whatever_happens(
    slots: int, steps: list[tuple[float, int, dict[str, int], float, float, float]]
) -> None:
    crawl = Crawl(slots)
    for waited, busy, why, fetch, spider, committing in steps:
        crawl.wait(waited, min(busy, slots), **why)
        crawl.accounting.worked(max(1, min(busy, slots)), fetch=fetch, spider=spider)
        crawl.clock.now += committing
        crawl.accounting.committed(min(busy, slots))
    shares = crawl.accounting.shares()
    assert all(share > 0 for share in shares.values())
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    if any(step[0] + step[3] + step[4] + step[5] > 1e-6 for step in steps):
        assert math.isclose(sum(shares.values()), 1.0)
    both = combined(shares, 3.0, {"fetch": 0.5, "delay": 0.5}, 5.0)
    assert math.isclose(sum(both.values()), 1.0, rel_tol=1e-6) or not shares


def test_it_costs_little() -> None:
    """Far below a microsecond per request would be noise; a hundred would be a bug."""
    import time

    accounting = Accounting(8)
    began = time.process_time()
    for _ in range(10_000):
        accounting.waits(7, {"delay": 1})
        accounting.wakes()
        accounting.worked(8, fetch=0.1, spider=0.1)
        accounting.committed(7)
    assert time.process_time() - began < 1.0
    assert accounting.shares()


@pytest.mark.parametrize("slots", [1, 8])
def test_a_wait_without_a_reason_is_other(slots: int) -> None:
    crawl = Crawl(slots)
    crawl.wait(1.0, busy=0)
    assert crawl.shares() == {"other": 1.0}
