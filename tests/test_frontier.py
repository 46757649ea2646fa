"""The requests not done yet: the lowest rank that may go, goes; none is lost or doubled."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crawler import Request
from crawler.entry import Entry
from crawler.frontier import Frontier
from crawler.politeness import Politeness
from crawler.result import Failure, Result

HOSTS = ("a", "b", "c")
RESULTS = [
    Result(status=200),
    Result(failure=Failure("status", "", status=429), status=429),
    Result(failure=Failure("status", "", status=429, retry_after=7.0), status=429),
]


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


def test_a_host_at_its_limit_is_passed_over_until_one_comes_back() -> None:
    politeness = Politeness(per_host=1)
    frontier = frontier_of(entry(0, "a"), entry(1, "a"), entry(2, "b"), politeness=politeness)
    first = frontier.take(100.0, 1000)
    assert first is not None
    politeness.started("a", 100.0)
    assert ranks(frontier, now=100.0) == [2]
    assert frontier.next_due(1000) is None  # no time to wait for
    politeness.finished("a", 101.0)
    assert ranks(frontier, now=101.0) == []  # the frontier can't know yet
    frontier.freed("a")
    assert frontier.next_due(1000) == 0.0
    assert ranks(frontier, now=101.0) == [1]


def test_it_knows_why_nothing_may_go() -> None:
    politeness = Politeness(10.0, per_host=2)
    frontier = frontier_of(
        entry(0, "a"), entry(1, "b"), entry(2, "c"), entry(9, "d"), politeness=politeness
    )
    politeness.started("a", 100.0)
    politeness.started("b", 90.0)
    politeness.started("b", 90.0)
    politeness.started("c", 90.0)
    politeness.finished("c", 91.0, result=RESULTS[1])
    politeness.finished("c", 91.0, result=RESULTS[2])
    assert ranks(frontier, now=100.0, max_rank=1) == []
    assert frontier.reasons == {"delay": 1, "per_host": 1, "order": 2}
    assert ranks(frontier, now=100.0, max_rank=8) == [2]
    assert frontier.reasons == {"delay": 1, "per_host": 1, "order": 1}
    assert ranks(frontier, now=110.0) == [0, 9]
    assert frontier.reasons == {"per_host": 1}
    frontier.freed("b")
    politeness.finished("b", 111.0)
    assert ranks(frontier, now=111.0) == [1]
    assert frontier.reasons == {}


def test_a_host_that_was_given_up_does_not_rest() -> None:
    politeness = Politeness(55.0)
    frontier = frontier_of(entry(0, "a"), politeness=politeness)
    politeness.started("a", -50.0)
    politeness.finished("a", -50.0)
    for number in range(20):
        assert ranks(frontier, now=60.0 * number - 50) == []
        politeness.started("a", 60.0 * number)
        politeness.finished("a", 60.0 * number, result=RESULTS[2])
        frontier.freed("a")
    assert politeness.is_blocked("a")
    assert ranks(frontier, now=60.0 * 19) == [0]


def test_many_hosts_cost_no_more_than_one() -> None:
    """Counted, not timed: politeness is asked about once per request, however many hosts rest."""

    class Counting(Politeness):
        asked = 0

        def ready_at(self, host: str) -> float:
            self.asked += 1
            return super().ready_at(host)

    politeness = Counting(10.0)
    frontier = Frontier(politeness)
    for rank in range(10_000):
        frontier.add(entry(rank, f"h{rank % 5_000}"))
    for now in (100.0, 111.0):
        while (taken := frontier.take(now, 10**9)) is not None:
            politeness.started(taken.host, now)
            politeness.finished(taken.host, now)
            frontier.freed(taken.host)
        assert len(frontier) == (5_000 if now == 100.0 else 0)
    assert politeness.asked < 4 * 10_000


@pytest.mark.parametrize("attempts", [0, 3])
def test_attempts_and_request_travel_along(attempts: int) -> None:
    given = Entry(7, Request("http://x/", meta={"page": 7}), attempts)
    frontier = frontier_of(given)
    assert frontier.take(0.0, 7) is given


class AnyOrder(RuleBasedStateMachine):
    """Adds, takes, waits, discards in any order, beside a frontier that is just a dict of ranks."""

    @initialize(delay=st.sampled_from([0.0, 3.0]), per_host=st.sampled_from([1, 2, 8]))
    def start(self, delay: float, per_host: int) -> None:
        self.politeness = Politeness(delay, per_host=per_host)
        self.frontier = Frontier(self.politeness)
        self.expected: dict[int, tuple[Entry, float]] = {}
        self.discarded = 0
        self.now = 1.0
        self.next_rank = 0
        self.in_flight: list[Entry] = []

    @rule(host=st.sampled_from(HOSTS))
    def add(self, host: str) -> None:
        self._add(entry(self.next_rank, host), 0.0)
        self.next_rank += 1

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), wait=st.none() | st.integers(0, 5), result=st.sampled_from(RESULTS))
    def come_back(self, data: st.DataObject, wait: int | None, result: Result) -> None:
        """A request comes back, to be tried again or not."""
        each = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.politeness.finished(each.host, self.now, result=result)
        self.frontier.freed(each.host)
        if wait is not None:
            self._add(each, self.now + wait)

    def _add(self, each: Entry, due: float) -> None:
        self.frontier.add(each, due)
        self.expected[each.rank] = (each, due)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        rank = data.draw(st.sampled_from(sorted(self.expected)))
        self.frontier.discard(self.expected.pop(rank)[0])
        self.discarded += 1

    @rule(seconds=st.integers(1, 4))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(ahead=st.integers(0, 6))
    def take(self, ahead: int) -> None:
        max_rank = min(self.expected, default=0) + ahead
        admissible = self._admissible(max_rank)
        taken = self.frontier.take(self.now, max_rank)
        if not admissible:
            assert taken is None
            self._nothing_is_missed(max_rank)
            return
        assert taken is self.expected.pop(min(admissible))[0]
        self.politeness.started(taken.host, self.now)
        self.in_flight.append(taken)

    def _admissible(self, max_rank: float) -> list[int]:
        return [
            rank
            for rank, (each, due) in self.expected.items()
            if rank <= max_rank and max(due, self.politeness.ready_at(each.host)) <= self.now
        ]

    def _nothing_is_missed(self, max_rank: float) -> None:
        """The time to look again is ahead, and not after the first request that may go."""
        times = [
            max(due, self.politeness.ready_at(each.host))
            for rank, (each, due) in self.expected.items()
            if rank <= max_rank
        ]
        due_at = self.frontier.next_due(max_rank)
        assert due_at is None or due_at > self.now
        assert (due_at or math.inf) <= min(times, default=math.inf)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        kept = len(self.expected)
        assert kept <= len(self.frontier) <= kept + self.discarded

    @invariant()
    def each_host_has_one_reason(self) -> None:
        hosts = self.frontier._hosts.values()
        aside = Counter(host.aside_for for host in hosts if host.ready_as is None)
        ready = len(hosts) - aside.total()
        assert self.frontier.reasons == {**aside, **({"order": ready} if ready else {})}


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
