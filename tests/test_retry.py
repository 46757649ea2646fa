"""Whether, and when, a failed request is tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import tenacity
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.errors import FetchError
from crawler.result import Failure
from crawler.retry import MAX_RETRY_AFTER, RetryPolicy, parse_retry_after

PASSING = Failure("timeout", "too slow", retryable=True)
LASTING = Failure("status", "the server answered 404", status=404)
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def wait(policy: RetryPolicy, failure: Failure = PASSING, attempts: int = 1) -> float | None:
    return policy.wait_before(failure, attempts=attempts, retries=2)


# ---- The defaults ----


@pytest.mark.parametrize(("attempts", "tried_again"), [(1, True), (2, True), (3, False)])
def test_a_passing_failure_is_tried_again_so_often(attempts: int, tried_again: bool) -> None:
    assert (wait(RetryPolicy(), attempts=attempts) is not None) is tried_again


def test_without_retries_the_first_attempt_is_the_last() -> None:
    assert RetryPolicy().wait_before(PASSING, attempts=1, retries=0) is None


def test_a_lasting_failure_is_not_tried_again() -> None:
    assert wait(RetryPolicy(), LASTING) is None
    assert wait(RetryPolicy(), Failure("status", "", status=404, retry_after=1.0)) is None


@pytest.mark.parametrize(("attempts", "most"), [(1, 0.5), (2, 1.0), (3, 2.0), (20, 30.0)])
def test_waits_are_random_and_double(attempts: int, most: float) -> None:
    waits = [RetryPolicy().wait_before(PASSING, attempts=attempts, retries=99) for _ in range(200)]
    numbers = [each for each in waits if each is not None]
    assert len(numbers) == 200
    assert 0 <= min(numbers) < most / 4
    assert most * 3 / 4 < max(numbers) <= most


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (7.0, 7.0), (1e12, MAX_RETRY_AFTER)])
def test_what_the_server_asks_for_wins_within_bounds(asked: float, waited: float) -> None:
    failure = Failure("status", "", status=429, retryable=True, retry_after=asked)
    assert wait(RetryPolicy(), failure) == waited
    assert wait(RetryPolicy(wait=tenacity.wait_fixed(99)), failure) == waited
    assert wait(RetryPolicy(), failure, attempts=3) is None


# ---- tenacity's strategies in their place ----


def test_wait_stop_and_retry_may_be_tenacitys() -> None:
    assert wait(RetryPolicy(wait=tenacity.wait_fixed(3))) == 3.0
    assert wait(RetryPolicy(wait=tenacity.wait_incrementing(1, 10)), attempts=2) == 11.0
    once = RetryPolicy(stop=tenacity.stop_after_attempt(2))
    assert wait(once, attempts=1) is not None
    assert wait(once, attempts=2) is None
    forever = RetryPolicy(stop=tenacity.stop_never)
    assert wait(forever, attempts=1000) is not None


def test_a_retry_rule_sees_the_failure() -> None:
    def is_not_found(error: BaseException) -> bool:
        return isinstance(error, FetchError) and error.failure.status == 404

    policy = RetryPolicy(
        retry=tenacity.retry_if_exception(is_not_found), wait=tenacity.wait_fixed(1)
    )
    assert wait(policy, LASTING) == 1.0
    assert wait(policy, PASSING) is None


def test_strategies_may_be_any_function_of_the_state() -> None:
    def longer_and_longer(state: Any) -> float:
        return float(state.attempt_number * 100)

    assert wait(RetryPolicy(wait=longer_and_longer), attempts=2) == 200.0


# ---- Retry-After (RFC 9110, 10.2.3) ----


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 3 ", 3.0),
        ("1" + "0" * 30, 1e11),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 13:01:00 +0100", 60.0),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30.0),
        ("Mon, 23 Nov 2020 12:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("abc", None),
        ("", None),
        ("٣", None),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("Mon, 31 Feb 2026 00:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_a_date_counts_from_now() -> None:
    assert (parse_retry_after("Thu, 23 Nov 2290 12:00:00 GMT") or 0) > 3600


date_like = st.lists(
    st.sampled_from(
        ["Mon,", "1", "Jan", "2026", "99999999999", "00:00:00", "GMT", "+9999", "-", ":"]
    )
).map(" ".join)


@given(st.one_of(st.text(), date_like, st.binary().map(lambda raw: raw.decode("latin-1"))))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_any_retry_after_is_seconds_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds < 1e13
