"""The requests not done yet: the lowest rank that may go, goes; none is lost or doubled."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crawler import Request
from crawler.entry import Entry
from crawler.frontier import Frontier
from crawler.politeness import Politeness

HOSTS = ("a", "b", "c")


def entry(rank: int, host: str = "x") -> Entry:
    return Entry(rank, Request(f"http://{host}/{rank}"))


def frontier_of(*entries: Entry, politeness: Politeness | None = None) -> Frontier:
    frontier = Frontier(politeness or Politeness())
    for each in entries:
        frontier.add(each)
    return frontier


def ranks(frontier: Frontier, now: float = 0.0, max_rank: float = 1000) -> list[int]:
    taken = []
    while (each := frontier.take(now, max_rank)) is not None:
        taken.append(each.rank)
    return taken


def test_the_lowest_rank_comes_first_across_hosts() -> None:
    frontier = frontier_of(entry(3, "a"), entry(1, "b"), entry(2, "a"), entry(0, "c"))
    assert len(frontier) == 4
    assert ranks(frontier) == [0, 1, 2, 3]
    assert len(frontier) == 0
    assert frontier.next_due(1000) is None


def test_ranks_beyond_the_highest_stay() -> None:
    frontier = frontier_of(entry(0), entry(1), entry(2))
    assert ranks(frontier, max_rank=1) == [0, 1]
    assert len(frontier) == 1
    assert frontier.next_due(1) is None
    assert frontier.next_due(2) == 0.0


def test_a_host_that_rests_is_passed_over() -> None:
    politeness = Politeness(10.0)
    frontier = frontier_of(entry(0, "a"), entry(1, "b"), politeness=politeness)
    politeness.started("a", 100.0)
    assert ranks(frontier, now=100.0) == [1]
    assert frontier.next_due(1000) == 110.0
    assert ranks(frontier, now=110.0) == [0]


def test_a_host_rests_however_its_name_is_written() -> None:
    politeness = Politeness(10.0)
    frontier = frontier_of(
        Entry(0, Request("http://X:80/")),
        Entry(1, Request("http://reader@x/")),
        politeness=politeness,
    )
    politeness.started("x", 100.0)
    assert ranks(frontier, now=100.0) == []


def test_a_request_with_a_due_time_waits_for_it() -> None:
    frontier = frontier_of(entry(1))
    frontier.add(entry(0), due=5.0)
    assert (len(frontier), frontier.waiting) == (2, 1)
    assert ranks(frontier, now=4.9) == [1]
    assert frontier.next_due(1000) == 5.0
    assert frontier.next_due(-1) is None
    assert ranks(frontier, now=5.0) == [0]
    assert frontier.waiting == 0


def test_a_malformed_url_has_its_place_like_any_other() -> None:
    frontier = frontier_of(entry(1), Entry(0, Request("http://[bad")))
    assert ranks(frontier) == [0, 1]


@pytest.mark.parametrize("attempts", [0, 3])
def test_attempts_and_request_travel_along(attempts: int) -> None:
    given = Entry(7, Request("http://x/", meta={"page": 7}), attempts)
    frontier = frontier_of(given)
    assert frontier.take(0.0, 7) is given


class AnyOrder(RuleBasedStateMachine):
    """Adds, takes and waits in any order, beside a frontier that is just a dict of ranks."""

    @initialize(delay=st.sampled_from([0.0, 3.0]))
    def start(self, delay: float) -> None:
        self.politeness = Politeness(delay)
        self.frontier = Frontier(self.politeness)
        self.expected: dict[int, tuple[Entry, float]] = {}
        self.now = 1.0
        self.next_rank = 0
        self.in_flight: list[Entry] = []

    @rule(host=st.sampled_from(HOSTS))
    def add(self, host: str) -> None:
        self._add(entry(self.next_rank, host), 0.0)
        self.next_rank += 1

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), wait=st.integers(0, 5))
    def try_again(self, data: st.DataObject, wait: int) -> None:
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        self._add(self.in_flight.pop(index), self.now + wait)

    def _add(self, each: Entry, due: float) -> None:
        self.frontier.add(each, due)
        self.expected[each.rank] = (each, due)

    @rule(seconds=st.integers(1, 4))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(ahead=st.integers(0, 6))
    def take(self, ahead: int) -> None:
        max_rank = min(self.expected, default=0) + ahead
        admissible = [
            rank
            for rank, (each, due) in self.expected.items()
            if rank <= max_rank
            and due <= self.now
            and self.politeness.ready_at(each.host) <= self.now
        ]
        taken = self.frontier.take(self.now, max_rank)
        if not admissible:
            assert taken is None
            due_at = self.frontier.next_due(max_rank)
            assert due_at is None or due_at > self.now
            return
        assert taken is self.expected.pop(min(admissible))[0]
        self.politeness.started(taken.host, self.now)
        self.in_flight.append(taken)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert len(self.frontier) == len(self.expected)


TestAnyOrder = AnyOrder.TestCase


def test_entries_that_nobody_wants_do_not_pile_up() -> None:
    frontier = Frontier(Politeness())
    frontier.add(Entry(0, Request("http://x/first")))
    for rank in range(1, 50_000):
        entry = Entry(rank, Request(f"http://x/{rank}"))
        frontier.add(entry)
        frontier.discard(entry)
    assert len(frontier) < 3_000
    first = frontier.take(0.0, 10**9)
    assert first is not None
    assert first.rank == 0
    assert frontier.take(0.0, 10**9) is None
