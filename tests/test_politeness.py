"""What a host is spared: rests, how many at a time, and for how long it is left alone."""

from __future__ import annotations

import math

import pytest

from crawler.politeness import Politeness
from crawler.result import Failure, Result
from crawler.settings import HostRule

GOOD = Result(status=200, fetch_seconds=0.1)


def refusal(status: int = 429, retry_after: float | None = None) -> Result:
    failure = Failure("status", "", status=status, retry_after=retry_after)
    return Result(failure=failure, status=status)


def ask(politeness: Politeness, host: str, now: float, result: Result = GOOD) -> None:
    politeness.started(host, now)
    politeness.finished(host, now, result=result)


# ---- The delay ----


def test_a_host_that_was_not_asked_is_ready() -> None:
    assert Politeness(5.0).ready_at("x") == 0.0


def test_the_delay_runs_from_start_to_start() -> None:
    politeness = Politeness(2.0)
    politeness.started("x", 100.0)
    assert politeness.ready_at("x") == 102.0
    politeness.finished("x", 101.5)
    assert politeness.ready_at("x") == 102.0


def test_one_at_a_time_the_delay_runs_from_end_to_start() -> None:
    politeness = Politeness(2.0, serial=True)
    politeness.started("x", 100.0)
    politeness.finished("x", 109.0)
    assert politeness.ready_at("x") == 111.0


def test_each_host_has_its_own_rest() -> None:
    politeness = Politeness(2.0)
    politeness.started("x", 100.0)
    assert politeness.ready_at("y") == 0.0


def test_without_a_delay_every_host_is_always_ready() -> None:
    politeness = Politeness(serial=True)
    politeness.started("x", 100.0)
    politeness.finished("x", 100.0)
    assert politeness.ready_at("x") == 0.0


@pytest.mark.parametrize(("delay", "wanted", "found"), [(0, 3, 3), (5, 3, 5), (1, 0, 1)])
def test_robots_may_ask_for_more_but_not_for_less(
    delay: float, wanted: float, found: float
) -> None:
    politeness = Politeness(delay)
    politeness.set_crawl_delay("x", wanted)
    politeness.started("x", 100.0)
    politeness.started("y", 100.0)
    assert politeness.ready_at("x") == 100 + found
    assert politeness.ready_at("y") == (100 + delay if delay else 0)


def test_robots_may_change_their_mind_while_the_host_is_asked() -> None:
    politeness = Politeness()
    politeness.started("x", 100.0)
    politeness.set_crawl_delay("x", 4.0)
    politeness.started("x", 101.0)
    assert politeness.ready_at("x") == 105.0
    politeness.set_crawl_delay("x", 0.0)
    politeness.started("x", 110.0)
    assert politeness.ready_at("x") == 105.0


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_a_crawl_delay_that_is_none_is_ignored(seconds: float) -> None:
    politeness = Politeness()
    politeness.set_crawl_delay("x", seconds)
    politeness.started("x", 100.0)
    assert politeness.ready_at("x") == 0.0


# ---- How many at a time ----


def test_a_host_at_its_limit_waits_for_an_answer_and_no_time() -> None:
    politeness = Politeness(per_host=2)
    politeness.started("x", 1.0)
    assert politeness.ready_at("x") == 0.0
    politeness.started("x", 1.0)
    assert politeness.ready_at("x") == math.inf
    assert politeness.ready_at("y") == 0.0
    politeness.finished("x", 2.0)
    assert politeness.ready_at("x") == 0.0


@pytest.mark.parametrize(
    ("host", "delay", "per_host"),
    [
        ("other.org", 1.0, 3),
        ("example.org", 1.0, 3),
        ("a.example.org", 2.0, 3),
        ("a.b.example.org:8080", 2.0, 3),
        ("slow.example.org", 2.0, 3),  # the first pattern that fits is taken
        ("localhost:8000", 0.0, 1),
        ("localhost:8001", 1.0, 3),
    ],
)
def test_some_hosts_have_rules_of_their_own(host: str, delay: float, per_host: int) -> None:
    politeness = Politeness(
        1.0,
        per_host=3,
        hosts={
            "*.Example.org": HostRule(delay=2.0),
            "slow.example.org": HostRule(delay=9.0),
            "localhost:8000": HostRule(delay=0.0, per_host=1),
        },
    )
    for _ in range(per_host - 1):
        politeness.started(host, 100.0)
    assert politeness.ready_at(host) == (100 + delay if per_host > 1 else 0)
    politeness.started(host, 100.0)
    assert politeness.ready_at(host) == math.inf
    politeness.finished(host, 100.0)
    assert politeness.ready_at(host) == (100 + delay if delay else 0)


# ---- When it is too much for the host ----


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize(
    ("status", "retry_after", "rest"),
    [(429, 30.0, 30), (503, 30.0, 30), (403, 30.0, 30), (429, 1e12, 300), (404, 30.0, 0)],
)
def test_retry_after_is_for_the_whole_host_and_no_other(
    status: int, retry_after: float, rest: float, adaptive: bool
) -> None:
    politeness = Politeness(adaptive=adaptive)
    politeness.started("x", 99.0)
    ask(politeness, "x", 100.0, refusal(status, retry_after))
    assert politeness.ready_at("y") == 0.0
    politeness.finished("x", 101.0, result=GOOD)  # it was on its way before
    assert politeness.ready_at("x") == (100 + rest if rest else 0)


def test_a_host_that_is_asked_too_fast_gets_fewer_at_a_time_and_then_pauses() -> None:
    politeness = Politeness(per_host=2)
    politeness.started("x", 100.0)
    politeness.started("x", 100.0)
    politeness.finished("x", 100.0, result=refusal())
    assert politeness.ready_at("x") == math.inf
    politeness.finished("x", 100.0, result=refusal())
    assert politeness.ready_at("x") == 0.0
    ask(politeness, "x", 101.0, refusal())
    assert politeness.ready_at("x") == 101.25
    ask(politeness, "x", 102.0, refusal())
    assert politeness.ready_at("x") == 102.5
    assert politeness.ready_at("y") == 0.0


def test_it_can_be_switched_off() -> None:
    politeness = Politeness(adaptive=False)
    for number in range(1000):
        ask(politeness, "x", 60.0 * number, refusal())
    assert politeness.ready_at("x") == 0.0
    assert not politeness.is_blocked("x")


def test_a_host_that_only_refuses_is_given_up_and_not_waited_for() -> None:
    politeness = Politeness(5.0)
    for number in range(20):
        assert not politeness.is_blocked("x")
        ask(politeness, "x", 60.0 * number, refusal(retry_after=30.0))
    assert politeness.is_blocked("x")
    assert not politeness.is_blocked("y")
    assert politeness.ready_at("x") == 0.0
    politeness.finished("x", 9000.0, result=GOOD)  # one that was still in flight
    assert politeness.is_blocked("x")
    assert politeness.remembered == 0


# ---- Many hosts ----


def test_hosts_that_are_well_are_forgotten() -> None:
    politeness = Politeness(per_host=4)
    for number in range(20_000):
        ask(politeness, f"h{number}", float(number))
    assert politeness.remembered == 0


def test_rests_that_are_over_and_troubles_of_long_ago_are_forgotten() -> None:
    politeness = Politeness(2.0)
    for number in range(50_000):
        ask(politeness, f"h{number}", number / 10, refusal() if number % 3 else GOOD)
    # Ten hosts a second; those of the last ten minutes had trouble.
    assert politeness.remembered < 2 * 10 * 600
    ask(politeness, "h49999", 5_000.0)
    assert politeness.ready_at("h49999") >= 5_000.0


# ---- Why it is waited for ----


def test_a_rest_has_the_reason_that_lasts_longest() -> None:
    politeness = Politeness(2.0, adaptive=False)
    politeness.started("x", 100.0)
    assert politeness.why_not_ready("x") == "delay"
    politeness.finished("x", 100.5, result=refusal(429, retry_after=60.0))
    assert politeness.why_not_ready("x") == "backoff"
    politeness.started("x", 170.0)
    assert politeness.why_not_ready("x") == "delay"
    assert politeness.why_not_ready("never asked") == "delay"


def test_a_refusal_shorter_than_the_delay_is_none() -> None:
    politeness = Politeness(2.0, serial=True)
    ask(politeness, "x", 100.0, refusal(503, retry_after=1.0))
    assert politeness.why_not_ready("x") == "delay"


def test_a_limit_is_our_own_or_one_that_the_host_made_us_keep() -> None:
    politeness = Politeness(per_host=2)
    politeness.started("x", 100.0)
    politeness.started("x", 100.0)
    assert politeness.why_not_ready("x") == "per_host"
    politeness.finished("x", 100.0, result=refusal(429))
    assert politeness.why_not_ready("x") == "backoff"
