"""What a crawl is worth: the exit code, and the words for it."""

from __future__ import annotations

import pytest

from crawler.engine import Stats
from crawler.refusals import Refusals
from crawler.result import Failure
from crawler.settings import Settings
from crawler.verdict import Verdict, judge


def status(code: int) -> Failure:
    return Failure("status", f"the server answered {code}", status=code)


GIVEN_UP = Failure("blocked", "not asked for")
TIMEOUT = Failure("timeout", "too slow")


def crawl(*pages: tuple[str, Failure | None]) -> Stats:
    """The statistics of a crawl with these pages: host, and how it failed."""
    stats, refusals = Stats(), Refusals()
    for host, failure in pages:
        refusals.note(host, failure)
        if failure is None:
            stats.pages += 1
        else:
            stats.failed += 1
            stats.failures[failure.cause] = stats.failures.get(failure.cause, 0) + 1
    stats.refused, stats.blocked = refusals.pages, refusals.hosts
    return stats


def verdict(*pages: tuple[str, Failure | None], is_finished: bool = True) -> Verdict:
    return judge(crawl(*pages), Settings(), is_finished=is_finished)


@pytest.mark.parametrize(
    ("failures", "how"),
    [
        ([status(403)] * 3, "status 403"),
        ([status(429), status(503), status(429)], "status 429, status 503"),
        ([GIVEN_UP] * 3, "blocked"),
        ([status(403), GIVEN_UP, GIVEN_UP], "blocked, status 403"),
    ],
)
def test_a_crawl_that_got_nothing_but_refusals_is_blocked(
    failures: list[Failure], how: str
) -> None:
    found = verdict(*(("a.example", failure) for failure in failures))
    assert found.exit_code == 7
    assert not found.is_published
    assert found.problem == f"blocked by the site a.example: 3 of 3 pages failed ({how})"


def test_of_many_hosts_the_worst_are_named() -> None:
    pages = [(host, status(403)) for host in "abcde" for _ in range(ord(host) - ord("a") + 1)]
    problem = verdict(*pages).problem
    assert problem is not None
    assert problem.startswith("blocked by the site e, d, c and 2 more: 15 of 15")


@pytest.mark.parametrize("other", [status(404), status(500), TIMEOUT])
def test_other_failures_among_them_are_no_block(other: Failure) -> None:
    found = verdict(("a", status(403)), ("b", other))
    assert found.exit_code == 3
    assert found.problem == ("2 of 2 pages failed; blocked or given up: a; nothing is published")


def test_one_host_of_several_that_is_blocked_is_named() -> None:
    found = verdict(("a", None), ("b", status(403)), ("a", None), ("b", status(429)))
    assert found == Verdict(3, "2 of 4 pages failed; blocked or given up: b", is_published=True)


@pytest.mark.parametrize("order", [1, -1])
def test_a_host_with_a_forbidden_page_is_not_blocked(order: int) -> None:
    pages = [("a", None), ("a", status(403)), ("b", None)]
    assert verdict(*pages[::order]).problem == "1 of 3 pages failed"


def test_a_host_that_was_given_up_is_named_whatever_it_gave_before() -> None:
    found = verdict(("a", None), ("b", None), ("b", TIMEOUT), ("b", GIVEN_UP))
    assert found.problem == "2 of 4 pages failed; blocked or given up: b"


@pytest.mark.parametrize(
    ("stats", "problem"),
    [
        (Stats(failed=1), "1 of 1 page failed; nothing is published"),
        (Stats(failed=1, pages=1), "1 of 2 pages failed"),
        (Stats(pages=1, items=2, failed_items=1), "0 of 1 page failed, and 1 item"),
        (Stats(pages=3, items=2, failed_files=1), "0 of 3 pages failed, and 1 file"),
        (Stats(pages=3, items=2, failed_files=2), "0 of 3 pages failed, and 2 files"),
    ],
)
def test_one_is_told_as_one(stats: Stats, problem: str) -> None:
    assert judge(stats, Settings(), is_finished=True).problem == problem


def test_an_interrupted_crawl_is_not_judged() -> None:
    assert verdict(("a", status(403)), is_finished=False).exit_code == 130


def test_what_was_counted_survives_a_checkpoint_and_is_bounded() -> None:
    before, after = Refusals(), Refusals()
    for number in range(5_000):
        before.note(f"open{number}", None)
        before.note(f"shut{number}", status(403))
        before.note(f"gone{number}", GIVEN_UP)
    after.resume(before.state())
    assert after.hosts == before.hosts
    assert len(after.hosts) == 2_000
    assert after.pages == 10_000
    assert len(before.state()["open"]) == 1_000
