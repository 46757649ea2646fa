"""Several hosts in one crawl: what is wrong with one is no matter for the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import crawler
from crawler import Request, Response, spider
from crawler.politeness import Politeness
from crawler.result import Failure, Result
from crawler.retry import RetryPolicy
from crawler.scheduler import Scheduler
from journals import journal_in_memory

Answer = Callable[[str, str], tuple[int, dict[str, str]]]
"""Takes host and path, gives status and headers."""


@contextmanager
def hosts(count: int, answer: Answer) -> Iterator[list[str]]:
    """Servers at 127.0.0.2, 127.0.0.3 ...: their URLs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers = answer(self.headers["Host"], self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as stack:
        urls = []
        for number in range(2, 2 + count):
            try:
                server = ThreadingHTTPServer((f"127.0.0.{number}", 0), Handler)
            except OSError:  # macOS has only 127.0.0.1
                pytest.skip("this system has one loopback address")
            server.daemon_threads = True
            stack.enter_context(server)
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()
            stack.callback(server.shutdown)
            urls.append(f"http://127.0.0.{number}:{server.server_port}")
        yield urls


@spider()
def address(response: Response) -> dict[str, str]:
    return {"url": response.url}


def test_b5_f23_a_host_that_never_answers_does_not_hold_up_the_others() -> None:
    """It hangs until all pages of the nine others were asked for: counted, not timed."""
    lock = threading.Lock()
    asked: list[str] = []
    dead: list[str] = []
    others_are_done = threading.Event()

    def answer(host: str, path: str) -> tuple[int, dict[str, str]]:
        if host.startswith("127.0.0.11:"):
            dead.append(path)
            assert others_are_done.wait(20), "the others wait for the dead host"
        else:
            with lock:
                asked.append(path)
                if len(asked) == 9 * 12:
                    others_are_done.set()
        return 200, {}

    with hosts(10, answer) as urls:
        result = crawler.run(
            address,
            urls=[f"{url}/{number}" for number in range(12) for url in urls],
            concurrency=8,
            per_host=3,
            robots=False,
        )
    assert others_are_done.is_set()
    assert (result.stats.pages, result.stats.requests) == (120, 120)
    assert len(dead) == 12


def test_b4_retry_after_stops_the_host_and_no_other() -> None:
    times: dict[str, list[float]] = {"127.0.0.2": [], "127.0.0.3": []}

    def answer(host: str, path: str) -> tuple[int, dict[str, str]]:
        seen = times[host.partition(":")[0]]
        seen.append(time.monotonic())
        if host.startswith("127.0.0.2:") and len(seen) <= 2:
            return 429, {"Retry-After": "1"}
        if host.startswith("127.0.0.3:"):
            time.sleep(0.02)
        return 200, {}

    with hosts(2, answer) as (limited, free):
        urls = [f"{url}/{number}" for number in range(20) for url in (limited, free)]
        result = crawler.run(
            address,
            urls=urls,
            hosts={limited.removeprefix("http://"): {"per_host": 1}},
            robots=False,
        )
    assert (result.stats.pages, result.stats.retries, result.stats.failed) == (40, 2, 0)
    first, second, third, *_ = times["127.0.0.2"]
    assert second - first > 0.95
    assert third - second > 0.95
    free_in_the_first_pause = [t for t in times["127.0.0.3"] if first < t < second]
    assert len(free_in_the_first_pause) >= 10
    assert max(times["127.0.0.3"]) < third


def test_pages_of_a_host_that_was_given_up_fail_without_being_asked_for() -> None:
    now = 100.0
    start = [Request(f"http://{host}/{number}") for number in range(40) for host in ("bad", "x")]
    scheduler = Scheduler(
        iter(start),
        politeness=Politeness(),
        retry=RetryPolicy(),
        retries=0,
        journal=journal_in_memory(),
        clock=lambda: now,
    )
    refused, fetched, blocked = 0, 0, []
    for _ in range(1000):
        entry = scheduler.next(1000)
        if entry is None:
            now += 30
        elif entry.result is not None:
            assert entry.result.failure is not None
            assert (entry.result.failure.kind, entry.host) == ("blocked", "bad")
            blocked.append(entry.rank)
        elif entry.host == "bad":
            refused += 1
            failure = Failure("status", "", status=429)
            scheduler.returned(entry, Result(failure=failure, status=429))
        else:
            fetched += 1
            scheduler.returned(entry, Result(status=200))
    assert (refused, fetched) == (20, 40)
    assert blocked == list(range(40, 80, 2))


def test_what_was_fetched_ahead_of_its_rank_is_given_up_too() -> None:
    politeness = Politeness()
    scheduler = Scheduler(
        iter([Request("http://x/")]),
        politeness=politeness,
        retry=RetryPolicy(),
        retries=0,
        journal=journal_in_memory(),
        clock=lambda: 10_000.0,
    )
    entry = scheduler.next(10)
    assert entry is not None
    scheduler.returned(entry, Result(status=200))
    links = [Request(f"http://x/{number}") for number in range(3)]
    scheduler.speculate(entry, links)
    for number in range(20):
        politeness.started("x", 60.0 * number)
        failure = Failure("status", "", status=429)
        politeness.finished("x", 60.0 * number, result=Result(failure=failure, status=429))
    assert politeness.is_blocked("x")
    assert scheduler.next(10) is None
    assert scheduler.next_ahead() is None
    assert scheduler.ahead_results == 3
    scheduler.committed(entry, Result())
    scheduler.follow(entry, links)
    found = [ahead.result for ahead in scheduler.finished(10)]
    assert [each.failure.kind for each in found if each and each.failure] == ["blocked"] * 3


def test_hosts_that_keep_us_out_are_named() -> None:
    def answer(host: str, path: str) -> tuple[int, dict[str, str]]:
        return (403 if host.startswith("127.0.0.3:") else 200), {}

    with hosts(2, answer) as (open_one, shut_one):
        shut = shut_one.removeprefix("http://")
        urls = [f"{url}/{number}" for number in range(3) for url in (open_one, shut_one)]
        some = crawler.run(address, urls=urls)
        none = crawler.run(address, urls=[url for url in urls if url.startswith(shut_one)])
    assert some.exit_code == 3
    assert some.verdict.problem == f"3 of 6 pages failed; blocked or given up: {shut}"
    assert some.stats.blocked == {shut: 3}
    assert none.exit_code == 7
    assert none.verdict.problem == (f"blocked by the site {shut}: 3 of 3 pages failed (status 403)")
