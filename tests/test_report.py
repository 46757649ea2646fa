"""What is said at the end of a crawl: nothing more than there is to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.cli.report import About, report
from crawler.engine import Stats
from crawler.run import CrawlResult
from crawler.verdict import Verdict

ABOUT = About(
    how_to_resume="`crawl resume posts` goes on from here",
    folder=Path("output/runs/posts/1"),
    files=["output/posts.json"],
    mode="threads",
)
GOOD = Verdict(0, None, is_published=True)


def lines(stats: Stats, verdict: Verdict = GOOD, *, is_short: bool = False) -> list[str]:
    return report(CrawlResult(stats, verdict, [], []), ABOUT, is_short=is_short)


def test_a_short_crawl_without_trouble_has_two_lines() -> None:
    stats = Stats(
        pages=4,
        items=100,
        seconds=0.21,
        body_bytes=10**6,
        skipped={"duplicate": 7},
        time={"delay": 1.0},
    )
    assert lines(stats) == ["4 pages, 100 items in 0.21 s", "-> output/posts.json"]


TROUBLED = Stats(
    pages=37,
    failed=3,
    items=912,
    failed_items=1,
    dropped=2,
    retries=6,
    body_bytes=4_100_000,
    worker_deaths=2,
    skipped={"scope": 14, "duplicate": 1210},
    failures={"timeout": 1, "status 403": 2, "pipeline": 1},
    retried={"status 503": 5, "timeout": 1},
    seconds=61.2,
    cpu_seconds=3.0,
    time={"delay": 0.87, "fetch": 0.09, "empty": 0.04},
)
PROBLEM = Verdict(3, "3 of 40 pages failed; blocked or given up: b.example", is_published=True)


def test_a_long_crawl_with_troubles_tells_them_in_eight_lines() -> None:
    assert lines(TROUBLED, PROBLEM) == [
        (
            "40 pages, 912 items in 61.20 s, 2 items dropped by steps, 3 pages failed, "
            "1 item failed, 6 retries"
        ),
        "3 of 40 pages failed; blocked or given up: b.example",
        (
            "failed: 2 x status 403, 1 x timeout, 1 x pipeline; "
            "tried again: 5 x status 503, 1 x timeout"
        ),
        "4.1 MB; 2 workers died; links not followed: 1,210 duplicate, 14 scope",
        "time: 87 % delay, 9 % fetching",
        "87 % of the time waited for the delay of hosts: more workers would not help",
        "more in output/runs/posts/1/failed.jsonl",
        "-> output/posts.json",
    ]


def test_what_came_of_it_is_all_that_is_said_when_quiet() -> None:
    assert lines(TROUBLED, PROBLEM, is_short=True) == [
        (
            "40 pages, 912 items in 61.20 s, 2 items dropped by steps, 3 pages failed, "
            "1 item failed, 6 retries"
        ),
        "3 of 40 pages failed; blocked or given up: b.example",
        "more in output/runs/posts/1/failed.jsonl",
        "-> output/posts.json",
    ]


def test_a_short_crawl_tells_its_failures_but_not_its_time() -> None:
    stats = Stats(pages=1, failed=1, seconds=0.5, failures={"dns": 1}, time={"fetch": 1.0})
    assert lines(stats, Verdict(3, "1 of 2 pages failed", is_published=True)) == [
        "2 pages, 0 items in 0.50 s, 1 page failed",
        "1 of 2 pages failed",
        "failed: 1 x dns",
        "more in output/runs/posts/1/failed.jsonl",
        "-> output/posts.json",
    ]


def test_items_that_steps_dropped_are_told_of_the_shortest_crawl() -> None:
    assert lines(Stats(pages=2, items=49, dropped=1, seconds=0.2)) == [
        "2 pages, 49 items in 0.20 s, 1 item dropped by steps",
        "-> output/posts.json",
    ]


def test_a_crawl_whose_items_were_all_dropped_did_find_something() -> None:
    assert lines(Stats(pages=2, dropped=50, seconds=0.2, skipped={"scope": 4})) == [
        "2 pages, 0 items in 0.20 s, 50 items dropped by steps",
        (
            "the steps dropped all that was found (50 items); "
            "with --min-items 1 the old output would be kept"
        ),
        "-> output/posts.json",
    ]


def test_a_short_crawl_that_found_nothing_tells_which_links_it_left_out() -> None:
    assert lines(Stats(pages=1, seconds=0.2, skipped={"robots": 1, "scope": 30})) == [
        "1 page, 0 items in 0.20 s",
        "links not followed: 30 scope, 1 robots",
        "nothing was found; with --min-items 1 the old output would be kept",
        "-> output/posts.json",
    ]


@pytest.mark.parametrize("code", [6, 130])
def test_a_stopped_crawl_says_how_to_go_on(code: int) -> None:
    found = lines(Stats(pages=1, items=2), Verdict(code, "interrupted", is_published=False))
    assert found[1:] == ["interrupted", ABOUT.how_to_resume, "more in output/runs/posts/1"]


def test_only_the_most_frequent_causes_are_named() -> None:
    failures = {f"status {code}": code for code in range(500, 512)}
    stats = Stats(failed=sum(failures.values()), failures=failures)
    assert lines(stats)[1] == (
        "failed: 511 x status 511, 510 x status 510, 509 x status 509, 508 x status 508, "
        "507 x status 507, 3,521 others"
    )


def test_remote_text_can_not_forge_a_line() -> None:
    problem = "1 of 1 pages failed; blocked or given up: a\n-> all is well\x1b[2J\u202e"
    stats = Stats(failed=1, failures={"kind\r\x1b]0;title\x07": 1})
    text = lines(stats, Verdict(3, problem, is_published=False))
    assert text[1].endswith(r"a\n-> all is well\x1b[2J\u202e")
    assert text[2] == r"failed: 1 x kind\r\x1b]0;title\x07"
    assert all(line.isprintable() for line in text)
