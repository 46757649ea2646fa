"""What order costs, where it could cost most: chains of pages, some of them slow.

The practice site's chained lists (20 details each, log-normal latency, sigma 1.5) with 16 requests
in flight: in order, in the order of completion, and with a hand-written loop that keeps no order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import local
from typing import Any
from urllib.parse import urljoin

import requests
from parsel import Selector

import crawler
from benchmarks.rounds import Bench, say
from benchmarks.section import Section
from benchmarks.table import Table, spread
from benchmarks.table import number as number_of
from crawler import CrawlError, Response, demo

NEEDS_NGINX = False
BY_HAND = "by hand, no order"
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


def measure(bench: Bench) -> Section:
    """Seconds of each way, and its ratio to the hand-written loop."""
    ways: dict[str, Callable[[str], set[str]]] = {
        BY_HAND: by_hand,
        "ours, --order completion": lambda start: ours(start, "completion"),
        "ours, --order input": lambda start: ours(start, "input"),
    }
    figures: dict[str, dict[str, list[float]]] = {name: {"seconds": []} for name in ways}
    for number in range(bench.rounds):
        for name, crawl in ways.items():
            with demo.start(port=0) as site:
                # The delays follow from the path: the same for each way, others in each round.
                lists = LISTS + number
                start = f"{site.url}/chain/{lists}/{DETAILS}/?latency=0.02&sigma=1.5"
                began = time.perf_counter()
                titles = crawl(start)
                seconds = time.perf_counter() - began
            if len(titles) != lists * (DETAILS + 1):
                raise CrawlError(f"{name} found {len(titles)} pages")
            figures[name]["seconds"].append(seconds)
            say(f"  round {number + 1} of {bench.rounds}: {name} {seconds:.1f} s")
    section = Section("order", figures={"order": figures})
    rows = []
    for name, own in figures.items():
        ratio = section.ratio("order", (name, "seconds"), (BY_HAND, "seconds")) or 0
        rows.append([name, spread(own["seconds"]), number_of(ratio)])
    title = f"{LISTS * (DETAILS + 1):,} pages and some more in each round"
    section.tables.append(Table(title, ["", "time, s", "to the loop, median of rounds"], rows))
    return section
