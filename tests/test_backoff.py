"""How fast a host is asked, from how it answers; hosts are simulated, with a clock of their own."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import pytest

from crawler.backoff import SLOWEST, Backoff, Latency, Sign, sign_of
from crawler.politeness import Politeness
from crawler.result import Failure, Result

HOST = "x"
Answer = Callable[[float], tuple[float, Result]]
"""Takes when it is asked, gives how long the answer takes and what it is."""


def refusal(status: int, retry_after: float | None = None) -> Result:
    failure = Failure("status", "", status=status, retry_after=retry_after)
    return Result(failure=failure, status=status)


NO_ANSWER = Result(failure=Failure("timeout", ""))
NO_CONNECTION = Result(failure=Failure("connection", ""))
UNREACHED = Result(failure=Failure("connection", "", unreached=True))


def good(seconds: float = 0.1) -> Result:
    return Result(status=200, fetch_seconds=seconds)


class Simulation:
    """A crawl of one host that has always more to ask for."""

    def __init__(self, answer: Answer, *, seconds: float = math.inf, answers: float = math.inf):
        self.politeness = Politeness(per_host=8)
        self.now = 0.0
        self.good = self.bad = 0
        self.fewest_allowed = 8.0
        in_flight: list[tuple[float, int, Result]] = []
        while (
            self.now < seconds
            and self.good + self.bad < answers
            and not self.politeness.is_blocked(HOST)
        ):
            ready_at = self.politeness.ready_at(HOST)
            if ready_at <= self.now:
                self.politeness.started(HOST, self.now)
                taken, result = answer(self.now)
                heapq.heappush(in_flight, (self.now + taken, id(result), result))
            elif in_flight and in_flight[0][0] <= ready_at:
                self.now, _, result = heapq.heappop(in_flight)
                self._finish(result)
            else:
                self.now = ready_at

    def _finish(self, result: Result) -> None:
        self.politeness.finished(HOST, self.now, result=result)
        self.good += result.failure is None
        self.bad += result.failure is not None
        state = self.politeness._hosts.get(HOST)
        if state is not None:
            self.fewest_allowed = min(self.fewest_allowed, state.backoff.limit)


@pytest.mark.parametrize("median", [0.02, 0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_host_is_never_slowed_however_its_latency_spreads(
    median: float, seed: int
) -> None:
    chance = random.Random(seed)

    def answer(_: float) -> tuple[float, Result]:
        seconds = median * math.exp(chance.gauss(0, 1.5))
        return seconds, good(seconds)

    assert Simulation(answer, answers=5_000).fewest_allowed == 8


def test_a_few_errors_by_chance_slow_nothing() -> None:
    """One 503 in a thousand; it would take two in a row."""
    counted = iter(range(10**6))

    def answer(_: float) -> tuple[float, Result]:
        return 0.1, (refusal(503) if next(counted) % 1000 == 500 else good())

    found = Simulation(answer, answers=10_000)
    assert (found.bad, found.fewest_allowed) == (10, 8)


def test_b5_a_host_that_allows_so_many_a_second_is_asked_little_more_often() -> None:
    """5 a second, and 429 for what is over that; eight at a time, it would be 150 a second."""
    tokens, looked_at = 5.0, 0.0

    def answer(now: float) -> tuple[float, Result]:
        nonlocal tokens, looked_at
        tokens, looked_at = min(5.0, tokens + 5 * (now - looked_at)), now
        if tokens < 1:
            return 0.05, refusal(429)
        tokens -= 1
        return 0.1, good()

    found = Simulation(answer, seconds=120)
    assert found.good > 0.95 * 5 * 120
    assert found.bad < 0.4 * found.good


def test_a_host_that_was_down_for_two_minutes_is_not_given_up_and_gets_fast_again() -> None:
    def answer(now: float) -> tuple[float, Result]:
        return (0.1, refusal(503)) if 60 < now < 180 else (0.1, good())

    found = Simulation(answer, seconds=400)
    assert found.bad < 40
    assert found.good > 0.6 * 8 * 10 * 280
    assert HOST not in found.politeness._blocked
    assert found.politeness._hosts[HOST].backoff.limit == 8


@pytest.mark.parametrize(
    ("seconds", "result", "within", "asked"),
    [
        (0.1, refusal(429), 330, 40),
        (0.1, refusal(503), 330, 40),
        (0.001, NO_CONNECTION, 330, 40),
        (0.001, UNREACHED, 350, 60),
        (30.0, NO_ANSWER, 460, 40),
        (0.1, refusal(403), 10, 500),
    ],
)
def test_a_host_that_never_answers_well_is_given_up(
    seconds: float, result: Result, within: float, asked: int
) -> None:
    found = Simulation(lambda _: (seconds, result), seconds=10_000)
    assert found.politeness.is_blocked(HOST)
    assert found.now < within
    assert found.bad <= asked


def test_a_forbidden_part_of_a_site_is_neither_slowed_nor_given_up() -> None:
    counted = iter(range(10**6))

    def answer(_: float) -> tuple[float, Result]:
        return 0.1, (refusal(403) if 100 <= next(counted) < 500 else good())

    found = Simulation(answer, answers=2_000)
    assert (found.bad, found.good, found.fewest_allowed) == (400, 1600, 8)


# ---- The rules one by one ----


def test_overload_halves_what_is_in_flight_once_a_round() -> None:
    backoff = Backoff(8)
    for left in range(8, 0, -1):
        backoff.ended(Sign.TOO_MANY, 0.0, in_flight=left, seconds=0.1)
    assert backoff.limit == 4
    backoff.ended(Sign.TOO_MANY, 0.0, in_flight=4, seconds=0.1)
    assert backoff.limit == 2


def test_below_one_there_is_a_pause_that_grows_and_shrinks() -> None:
    backoff = Backoff(8)
    pauses = []
    for _ in range(10):
        backoff.ended(Sign.TOO_MANY, 0.0, in_flight=1, seconds=0.1)
        pauses.append(backoff.pause)
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 32, 32]
    assert backoff.limit == SLOWEST
    while backoff.pause:
        before = backoff.pause
        backoff.ended(Sign.GOOD, 0.0, in_flight=1, seconds=0.1)
        assert backoff.pause <= before / 1.4
    while backoff.limit < 8:
        before = backoff.limit
        backoff.ended(Sign.GOOD, 0.0, in_flight=1, seconds=0.1)
        assert before < backoff.limit <= before + 0.25
    assert not backoff.is_at_rest or backoff.limit == 8


def test_f24_a_host_that_is_not_reached_is_asked_again_soon_after_it_is_back() -> None:
    backoff = Backoff(8)
    now = 0.0
    while now < 600:
        backoff.ended(Sign.UNREACHED, now, in_flight=1, seconds=0.1)
        assert backoff.pause <= 1.001 * max(1.0, now / 8)
        now += backoff.pause
    assert backoff.pause == 32
    backoff.answered()
    assert (backoff.pause, backoff.limit) == (0, 1)


def test_a_single_trouble_between_good_answers_is_an_accident() -> None:
    backoff = Backoff(8)
    for sign in (Sign.TROUBLE, Sign.GOOD) * 10:
        backoff.ended(sign, 0.0, in_flight=8, seconds=0.1)
    assert backoff.limit == 8
    backoff.ended(Sign.TROUBLE, 0.0, in_flight=8, seconds=0.1)
    backoff.ended(Sign.TROUBLE, 0.0, in_flight=8, seconds=0.1)
    assert backoff.limit == 4


@pytest.mark.parametrize("row", [19, 20])
def test_giving_up_takes_a_long_row_the_slowest_rate_and_time(row: int) -> None:
    backoff = Backoff(1)
    for number in range(row):
        assert not backoff.is_hopeless
        backoff.ended(Sign.TOO_MANY, 20.0 * number, in_flight=1, seconds=0.1)
    assert backoff.is_hopeless == (row == 20)
    quick = Backoff(1)
    for _ in range(100):
        quick.ended(Sign.TOO_MANY, 1.0, in_flight=1, seconds=0.1)
    assert not quick.is_hopeless


def test_one_good_answer_begins_a_new_row() -> None:
    backoff = Backoff(1)
    for number in range(1, 1000):
        sign = Sign.GOOD if number % 19 == 0 else Sign.TOO_MANY
        backoff.ended(sign, 60.0 * number, in_flight=1, seconds=0.1)
        assert not backoff.is_hopeless


def test_a_host_that_gets_much_slower_keeps_a_quarter_until_that_is_its_usual_pace() -> None:
    backoff = Backoff(8)
    allowed = []
    for seconds in [0.5] * 300 + [20.0] * 1500:
        backoff.ended(Sign.GOOD, 0.0, in_flight=8, seconds=seconds)
        allowed.append(backoff.limit)
    assert set(allowed[:300]) == {8}
    assert min(allowed) == 2
    assert allowed[-1] == 8


@pytest.mark.parametrize(("before", "after"), [(0.01, 4.0), (1.0, 7.0), (30.0, 100.0)])
def test_pages_that_are_merely_slower_are_no_sign(before: float, after: float) -> None:
    latency = Latency()
    assert not any(latency.add(seconds) for seconds in [before] * 500 + [after] * 500)


@pytest.mark.parametrize(
    ("result", "sign"),
    [
        (good(), Sign.GOOD),
        (Result(redirect="/", status=302), Sign.GOOD),
        (Result(failure=Failure("spider", "KeyError"), status=200), Sign.GOOD),
        (refusal(404), Sign.GOOD),
        (refusal(410), Sign.GOOD),
        (refusal(403), Sign.FORBIDDEN),
        (refusal(429), Sign.TOO_MANY),
        (refusal(503), Sign.TROUBLE),
        (NO_ANSWER, Sign.TROUBLE),
        (NO_CONNECTION, Sign.TROUBLE),
        (UNREACHED, Sign.UNREACHED),
        (Result(failure=Failure("dns", "", unreached=True)), Sign.UNREACHED),
        (refusal(500), Sign.NOTHING),
        (refusal(401), Sign.NOTHING),
        (Result(), Sign.NOTHING),  # the spider did the fetching
        (Result(failure=Failure("spider", "ConnectionError")), Sign.NOTHING),
        (Result(failure=Failure("dns", "")), Sign.NOTHING),
        (Result(failure=Failure("truncated", "")), Sign.NOTHING),
        (Result(failure=Failure("worker", "")), Sign.NOTHING),
        (Result(failure=Failure("page-timeout", "")), Sign.NOTHING),
    ],
)
def test_what_a_result_says_of_its_host(result: Result, sign: Sign) -> None:
    assert sign_of(result) is sign
