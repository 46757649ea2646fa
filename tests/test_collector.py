"""The reorder buffer: any order in, the order of ranks out, and never more than it may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import Request
from crawler.collector import Collector
from crawler.entry import Entry
from crawler.result import Result

MUCH = 10**9


def hold(collector: Collector, rank: int, body_bytes: int = 0) -> None:
    collector.hold(Entry(rank, Request(f"http://x/{rank}")), Result(body_bytes=body_bytes))


def ready(collector: Collector) -> list[int]:
    return [entry.rank for entry, _ in collector.ready()]


def test_results_leave_up_to_the_first_gap() -> None:
    collector = Collector(window=10, window_bytes=MUCH)
    hold(collector, 1)
    hold(collector, 3)
    assert ready(collector) == []
    hold(collector, 0)
    assert ready(collector) == [0, 1]
    assert (collector.head, len(collector)) == (2, 1)
    hold(collector, 2)
    assert ready(collector) == [2, 3]
    assert (collector.head, len(collector)) == (4, 0)


def test_what_was_held_comes_out_as_it_went_in() -> None:
    collector = Collector(window=10, window_bytes=MUCH)
    entry, result = Entry(0, Request("http://x/")), Result(items=[{"a": 1}])
    collector.hold(entry, result)
    assert list(collector.ready()) == [(entry, result)]


def test_a_full_window_lets_only_the_head_go() -> None:
    collector = Collector(window=2, window_bytes=MUCH)
    assert collector.max_rank == 2
    hold(collector, 1)
    assert collector.max_rank == 2
    hold(collector, 2)
    assert collector.max_rank == 0
    hold(collector, 0)
    assert ready(collector) == [0, 1, 2]
    assert collector.max_rank == 5


def test_too_many_bytes_let_only_the_head_go() -> None:
    collector = Collector(window=100, window_bytes=1000)
    hold(collector, 1, 999)
    assert collector.max_rank == 100
    hold(collector, 2, 1)
    assert collector.max_rank == 0
    hold(collector, 0, 5000)
    assert ready(collector) == [0, 1, 2]
    assert collector.max_rank == 103


def test_who_stops_taking_leaves_the_rest() -> None:
    collector = Collector(window=10, window_bytes=MUCH)
    for rank in range(3):
        hold(collector, rank)
    next(collector.ready())
    assert (collector.head, len(collector)) == (1, 2)
    assert ready(collector) == [1, 2]


@given(st.permutations(range(12)))
def test_any_order_of_arrival_leaves_in_order(arrivals: list[int]) -> None:
    collector = Collector(window=100, window_bytes=MUCH)
    left = []
    for rank in arrivals:
        hold(collector, rank)
        left += ready(collector)
        assert rank != collector.head
    assert left == list(range(12))


@given(
    st.data(),
    st.integers(1, 5),
    st.integers(1, 100),
    st.integers(1, 4),
)
def test_a_crawl_ends_within_the_bounds_whatever_the_timing(
    data: st.DataObject, window: int, window_bytes: int, slots: int
) -> None:
    """Requests go out as `max_rank` lets them, and come back in any order."""
    collector = Collector(window=window, window_bytes=window_bytes)
    total, largest = 15, 30
    in_flight: list[int] = []
    left: list[int] = []
    held: dict[int, int] = {}
    handed_out, most_bytes = 0, window_bytes + slots * largest
    while len(left) < total:
        while len(in_flight) < slots and handed_out <= min(collector.max_rank, total - 1):
            in_flight.append(handed_out)
            handed_out += 1
        assert in_flight, "nothing may go, though the head is not there"
        rank = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
        held[rank] = data.draw(st.integers(0, largest))
        hold(collector, rank, held[rank])
        for each in ready(collector):
            left.append(each)
            del held[each]
        assert len(collector) == len(held) <= window
        assert sum(held.values()) <= most_bytes
    assert left == list(range(total))


@pytest.mark.parametrize("window", [1, 3])
def test_no_more_is_ever_held_than_the_window(window: int) -> None:
    collector = Collector(window=window, window_bytes=MUCH)
    handed_out = 1  # the head, which never comes back
    while handed_out <= collector.max_rank:
        hold(collector, handed_out)
        handed_out += 1
    assert len(collector) == window
