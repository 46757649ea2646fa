"""A host that goes away and comes back costs no page; simulated with a clock, and for real."""

from __future__ import annotations

import heapq
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from command_line import CRAWL, signal_all, spider_file, start_crawl
from crawler import Request, demo
from crawler.demo import PracticeSite
from crawler.entry import Entry
from crawler.outage import Outages
from crawler.politeness import Politeness
from crawler.result import Failure, Result
from crawler.retry import RetryPolicy
from crawler.scheduler import Scheduler
from deadline import wait_until
from journals import journal_in_memory

GOOD = Result(status=200, fetch_seconds=0.1)
REFUSED = Result(
    failure=Failure("connection", "Connection refused", retryable=True, unreached=True)
)
RESET = Result(failure=Failure("connection", "Connection reset", retryable=True))
Answer = Callable[[str, float], tuple[float, Result]]
"""Takes a URL and when it is asked for, gives how long it takes and what comes of it."""


class Crawl:
    """A crawl of `urls` by a clock of its own."""

    def __init__(
        self,
        urls: Iterator[str],
        answer: Answer,
        *,
        slots: int = 8,
        adaptive: bool = True,
        robots: bool = False,
        retries: int = 2,
    ) -> None:
        self.now = 0.0
        self.fetched: dict[str, float] = {}
        self.failed: dict[str, Failure] = {}
        self.attempts: list[float] = []
        self.scheduler = Scheduler(
            map(Request, urls),
            politeness=Politeness(per_host=slots, adaptive=adaptive),
            retry=RetryPolicy(),
            retries=retries,
            journal=journal_in_memory(),
            robots_agent="crawl" if robots else None,
            clock=lambda: self.now,
        )
        in_flight: list[tuple[float, int, Entry, Result]] = []
        while True:
            entry = self.scheduler.next(10**9) if len(in_flight) < slots else None
            if entry is not None and entry.result is not None:
                self._end(entry, entry.result)
            elif entry is not None:
                self.attempts.append(self.now)
                seconds, result = answer(entry.target.url, self.now)
                heapq.heappush(in_flight, (self.now + seconds, len(self.attempts), entry, result))
            else:
                wait = self.scheduler.seconds_to_next(10**9)
                if wait is not None and len(in_flight) < slots:
                    due = self.now + wait
                    if not in_flight or due < in_flight[0][0]:
                        self.now = max(due, self.now + 1e-6)
                        continue
                if not in_flight:
                    return
                self.now, _, entry, result = heapq.heappop(in_flight)
                self._end(entry, result)

    def _end(self, entry: Entry, result: Result) -> None:
        if entry.result is None:
            self.scheduler.returned(entry, result)
        if entry.is_robots:
            self.scheduler.robots_returned(entry, result)
        elif result.failure is None:
            self.fetched[entry.request.url] = self.now
        elif not self.scheduler.retry(entry, result.failure):
            self.failed[entry.request.url] = result.failure


def pages(count: int, *hosts: str) -> Iterator[str]:
    return (f"http://{host}/{number}" for number in range(count) for host in hosts or ["x"])


def down(begin: float, end: float, *, times_out: float = 0.0) -> Answer:
    """All hosts are away from `begin` to `end`."""

    def answer(url: str, now: float) -> tuple[float, Result]:
        is_robots = url.endswith("/robots.txt")
        good = Result(items=[{"robots": ""}], status=200) if is_robots else GOOD
        return (times_out or 0.001, REFUSED) if begin <= now < end else (0.1, good)

    return answer


@pytest.mark.parametrize("seconds", [1, 20, 120])
@pytest.mark.parametrize("slots", [1, 8])
@pytest.mark.parametrize("times_out", [0.0, 5.0], ids=["refused", "dropped"])
def test_f24_no_page_is_lost_while_a_host_is_away(
    seconds: float, slots: int, times_out: float
) -> None:
    end, count = 5 + seconds, 100 * slots
    crawl = Crawl(pages(count), down(5, end, times_out=times_out), slots=slots)
    assert (len(crawl.fetched), crawl.failed) == (count, {})
    back = next(at for at in crawl.attempts if at >= end)
    assert back - end <= max(1.0, seconds / 8) + times_out + 1
    # Nor is it slow then: half was left, which takes 5 s when all slots are used.
    assert crawl.now < back + 20


def test_f24_a_dead_site_fails_soon() -> None:
    crawl = Crawl(pages(2), down(0, 10**6))
    assert {failure.kind for failure in crawl.failed.values()} == {"connection"}
    assert len(crawl.attempts) == 2 * 3
    assert crawl.now < 10


def test_f24_a_host_that_stays_away_is_given_up() -> None:
    crawl = Crawl(pages(500), down(5, 10**6))
    assert len(crawl.fetched) >= 300
    kinds = [failure.kind for failure in crawl.failed.values()]
    assert set(kinds) <= {"blocked", "connection"}
    assert len(crawl.fetched) + len(kinds) == 500
    assert 300 < crawl.now < 360
    assert len([at for at in crawl.attempts if at > 5]) < 60


def test_f24_the_switch_leaves_the_retries() -> None:
    crawl = Crawl(pages(500), down(5, 25), adaptive=False)
    assert crawl.failed
    assert crawl.now < 60


def test_f24_one_page_that_always_breaks_is_not_waited_for() -> None:
    """Its connections break, but they are made: that may be the page's own fault."""

    def answer(url: str, _: float) -> tuple[float, Result]:
        return 0.1, RESET if url.endswith("/7") else GOOD

    crawl = Crawl(pages(8), answer)
    assert list(crawl.failed) == ["http://x/7"]
    assert len(crawl.attempts) == 7 + 3
    assert crawl.now < 10


def test_f24_the_last_page_of_a_crawl_is_waited_for_too() -> None:
    """The third attempt that fails tells that the host is down; they may all be the same page's."""

    broken = iter([RESET])

    def answer(url: str, now: float) -> tuple[float, Result]:
        is_away = url.endswith("/7") and now < 20
        return 0.1, next(broken, REFUSED) if is_away else GOOD

    crawl = Crawl(pages(8), answer, slots=1)
    assert (len(crawl.fetched), crawl.failed) == (8, {})


def test_f24_one_page_that_is_never_reached_on_a_host_that_answers_is_not_waited_for() -> None:
    """It may be of another port, or of https where there is only http."""

    def answer(url: str, _: float) -> tuple[float, Result]:
        return 0.1, REFUSED if url.endswith("/7") else GOOD

    crawl = Crawl(pages(500), answer)
    assert list(crawl.failed) == ["http://x/7"]
    assert len(crawl.attempts) == 499 + 3 + 2


def test_f24_robots_txt_is_waited_for_when_the_network_is_down() -> None:
    """The hosts of the second half are met while nobody can be reached."""
    urls = [*pages(60, "x"), *pages(1, *map(str, range(20))), *pages(60, "x")]
    crawl = Crawl(iter(urls), down(1, 21), robots=True)
    assert (len(crawl.fetched), crawl.failed) == (len(set(urls)), {})


def test_f24_other_hosts_go_on_meanwhile() -> None:
    def answer(url: str, now: float) -> tuple[float, Result]:
        return down(1, 21)(url, now) if "://a/" in url else (0.1, GOOD)

    crawl = Crawl(pages(100, "a", "b", "c"), answer)
    assert (len(crawl.fetched), crawl.failed) == (300, {})
    assert max(at for url, at in crawl.fetched.items() if "://a/" not in url) < 15


def test_f24_a_dead_host_fails_soon_while_others_answer() -> None:
    def answer(url: str, now: float) -> tuple[float, Result]:
        return (0.001, REFUSED) if "://dead/" in url else (0.1, GOOD)

    crawl = Crawl(iter(["http://dead/", *pages(300, "b")]), answer)
    assert [failure.kind for failure in crawl.failed.values()] == ["connection"]
    assert crawl.now < 10


def test_it_is_said_once_when_a_host_goes_and_once_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="crawler"):
        Crawl(pages(200), down(1, 31))
    assert [record.getMessage() for record in caplog.records] == [
        "x can't be reached any more (Connection refused); its pages wait until it can",
        "x answers again",
    ]


# ---- The rules one by one ----


def test_a_host_is_down_after_three_attempts_that_did_not_reach_it() -> None:
    outages = Outages()
    outages.answered("x")
    assert [outages.missed("x") for _ in range(4)] == [False, False, True, False]
    assert outages.is_down("x")
    assert outages.answered("x")
    assert not outages.is_down("x")


def test_a_host_that_never_answered_is_not_waited_for() -> None:
    outages = Outages()
    assert not any(outages.missed("x") for _ in range(9))
    assert not outages.is_down("x")


def test_the_network_is_down_when_nobody_is_reached_who_was_before() -> None:
    outages = Outages()
    outages.answered("x")
    outages.missed("new")
    outages.missed("x")
    assert not outages.is_down("new")
    outages.missed("newer")
    assert outages.is_down("new")
    outages.answered("y")
    assert not outages.is_down("new")
    for _ in range(3):
        outages.missed("new")
    outages.forget("x")
    assert not outages.is_down("new")


def test_only_so_many_hosts_are_remembered() -> None:
    outages = Outages(max_known=1000)
    for number in range(100_000):
        outages.answered(str(number))
        outages.missed(str(number))
        outages.forget(str(number))
    assert len(outages) <= 1000
    for _ in range(3):
        outages.missed("99999")
    assert outages.is_down("99999")


# ---- For real ----

GRAPH = """
@spider()
def graph(response):
    yield {"url": response.url, "title": response.css("title::text").get()}
    yield from response.follow_all(css="a")
"""


def test_f24_a_server_that_is_away_for_three_seconds(tmp_cwd: Path) -> None:
    """Killed in mid-crawl, with requests in flight; started again at the same port."""
    spider_file(tmp_cwd / "graph.py", GRAPH)
    counts = {"processes": 200, "sequential": 60, "threads": 200}
    with kept_port() as port, demo.start(port=port, jitter=0.1) as site:
        url = f"{site.url}/graph/3/{{}}/page/0?links=2"
        arguments = ["run", "graph.py", "--urls"]
        crawls = {}
        for count in set(counts.values()):
            names = ["--name", f"undisturbed-{count}", "-j", "16"]
            subprocess.run([*CRAWL, *arguments, url.format(count), *names], check=True)
        for mode, count in counts.items():
            enough = pages_asked_for(site) + 15
            crawls[mode] = start_crawl(
                *arguments, url.format(count), "--name", mode, "--mode", mode
            )
            wait_until(partial(has_been_asked, site, enough))
            signal_all(crawls[mode], signal.SIGSTOP)  # or one is done when the other begins
        os.kill(site.pid, signal.SIGKILL)
        for process in crawls.values():
            signal_all(process, signal.SIGCONT)
        time.sleep(3.0)
        with demo.start(port=port, jitter=0.02) as again:
            assert again.url == site.url
            said = {mode: process.communicate(timeout=30)[1] for mode, process in crawls.items()}
    output = tmp_cwd / "output"
    for mode, process in crawls.items():
        assert process.returncode == 0, said[mode]
        expected = (output / f"undisturbed-{counts[mode]}.json").read_bytes()
        assert (output / f"{mode}.json").read_bytes() == expected
        # An answer that came before may be heard of after, and then it is said twice.
        went, came = "can't be reached any more", "answers again"
        assert 1 <= said[mode].count(went) == said[mode].count(came), said[mode]


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that nobody else gets while no server of the test's listens there."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        port: int = keeper.getsockname()[1]
        if sys.platform != "linux":  # only there may a server share it
            keeper.close()
        yield port


def pages_asked_for(site: PracticeSite) -> int:
    with urllib.request.urlopen(f"{site.url}/stats") as answer:
        paths = json.load(answer)["paths"]
    return sum(times for path, times in paths.items() if path.startswith("/graph"))


def has_been_asked(site: PracticeSite, times: int) -> bool:
    return pages_asked_for(site) >= times
