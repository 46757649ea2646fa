"""What does order cost? `python -m benchmarks.order [ROUNDS]`

Crawls the practice site's chained lists (20 details each, log-normal latency, sigma 1.5) with 16
requests in flight: in order, in the order of completion, and with a hand-written loop that keeps
no order. In turn, several rounds; prints the median of each and its ratio to the loop.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import local
from typing import Any
from urllib.parse import urljoin

import requests
from parsel import Selector

import crawler
from crawler import Response, demo

LISTS, DETAILS, SLOTS = 40, 20, 16


def chain(response: Response) -> Iterator[Any]:
    """Each page's title, and all its links."""
    yield {"title": response.css("title::text").get()}
    yield from response.follow_all(css="a")


def ours(start: str, order: str) -> set[str]:
    """With the framework."""
    result = crawler.run(chain, urls=[start], workers=SLOTS, order=order)
    assert not result.failures, result.failures
    return {item["title"] for item in result.items}


def by_hand(start: str) -> set[str]:
    """What one writes without a framework: a pool, a set of what was seen, whatever comes first."""
    threads = local()

    def fetch(url: str) -> tuple[str, list[str]]:
        if not hasattr(threads, "session"):
            threads.session = requests.Session()
        page = Selector(text=threads.session.get(url, timeout=30).text, base_url=url)
        return page.css("title::text").get(""), [
            urljoin(url, h) for h in page.css("a::attr(href)").getall()
        ]

    titles: set[str] = set()
    seen = {start}
    with ThreadPoolExecutor(SLOTS) as pool:
        running: set[Future[tuple[str, list[str]]]] = {pool.submit(fetch, start)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                title, links = future.result()
                titles.add(title)
                running |= {pool.submit(fetch, url) for url in links if url not in seen}
                seen.update(links)
    return titles


def main(rounds: int) -> None:
    """Run all in turn and print the table."""
    ways: dict[str, Callable[[str], set[str]]] = {
        "by hand, no order": by_hand,
        "--order completion": lambda start: ours(start, "completion"),
        "--order input": lambda start: ours(start, "input"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, crawl in ways.items():
            with demo.start(port=0) as site:
                # The delays follow from the path: the same for each way, others in each round.
                lists = LISTS + number
                start = f"{site.url}/chain/{lists}/{DETAILS}/?latency=0.02&sigma=1.5"
                began = time.perf_counter()
                titles = crawl(start)
                seconds[name].append(time.perf_counter() - began)
            assert len(titles) == lists * (DETAILS + 1), (name, len(titles))
    base = seconds["by hand, no order"]
    pages = LISTS * (DETAILS + 1)
    print(f"{pages} pages and some more in each round, {SLOTS} in flight, {rounds} rounds\n")
    print("| | median s | spread | to the loop, median of pairs |\n|---|---|---|---|")
    for name, times in seconds.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(times, base, strict=True))
        print(
            f"| {name} | {statistics.median(times):.2f} "
            f"| {min(times):.2f}-{max(times):.2f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
