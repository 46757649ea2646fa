"""What does a request cost in the engine itself? `python -m benchmarks.frontier [URLS]`

Crawls a made-up site, breadth first, with an executor that answers at once: no network, no
spider. What is left is everything between: scheduler, ranks, dupefilter, frontier, journal on disk,
collector, and the engine's loop. Each size runs in a process of its own; its memory is the highest
that the process took, less what it took before the crawl. The journal of the last size is stopped
in the middle and resumed, until the first request goes out. CPU seconds, for wall times say little
on a shared machine.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from crawler.collector import Collector
from crawler.engine import Engine
from crawler.errors import CrawlError
from crawler.journal import Journal
from crawler.pipeline import Pipeline
from crawler.politeness import Politeness
from crawler.request import Request
from crawler.result import Item, Result
from crawler.retry import RetryPolicy
from crawler.scheduler import Scheduler

SITE = "https://www.example.org/section/page/"
LINKS = 4
"""New links on a page, at most: three pages of four are at the end of the site."""
KNOWN = 1
"""Links on a page that lead to pages known already."""
SLOTS = 16


class AtOnce(Executor):
    """Page n of the site, before `submit` returns: it links to pages 4n+1 ... 4n+4."""

    def __init__(self, pages: int, *, last: int | None = None) -> None:
        self._pages = pages
        self._last = last
        self.engine: Engine | None = None
        self.first_at: float | None = None
        """CPU seconds of this process when the first request came."""
        self.asked = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.first_at is None:
            self.first_at = time.process_time()
        self.asked += 1
        if self.asked == self._last and self.engine is not None:
            self.engine.stop()
        future: Future[Any] = Future()
        number = int(args[1].url.rpartition("/")[2])
        new = range(LINKS * number + 1, min(LINKS * number + LINKS + 1, self._pages))
        known = range(max(0, number - KNOWN), number)
        follow = [Request(f"{SITE}{link}") for link in (*new, *known)]
        future.set_result(
            Result(items=[{"n": number}], follow=follow, status=200, body_bytes=20_000)
        )
        return future


class Numbers:
    """A sink that checks the order of the pages and keeps nothing."""

    def __init__(self, next_number: int = 0) -> None:
        self.next_number = next_number

    def write(self, items: list[Item]) -> None:
        for item in items:
            if item["n"] != self.next_number:
                raise CrawlError(f"page {item['n']} where {self.next_number} should be")
            self.next_number += 1

    def fail(self, record: dict[str, Any]) -> None:
        raise CrawlError(f"a page failed: {record}")

    def sync(self) -> dict[str, int]:
        return {}

    def update(self, **counters: int) -> None:
        pass


def make_engine(executor: AtOnce, journal: Journal, sink: Numbers) -> Engine:
    start: Iterator[Request] = iter([Request(f"{SITE}0")])
    return Engine(
        reference="unused:here",
        scheduler=Scheduler(
            start,
            politeness=Politeness(per_host=SLOTS),
            retry=RetryPolicy(),
            retries=2,
            journal=journal,
        ),
        executor=executor,
        slots=SLOTS,
        collector=Collector(window=1_000, window_bytes=64 * 2**20),
        journal=journal,
        pipeline=Pipeline(),
        sink=sink,
        gauge=sink,
    )


def crawl(pages: int, path: Path, *, last: int | None = None) -> dict[str, float]:
    """Crawl it all, or until `last` requests were made: microseconds and bytes per page."""
    executor, sink = AtOnce(pages, last=last), Numbers()
    journal = Journal.create(path)
    engine = executor.engine = make_engine(executor, journal, sink)
    memory, began = highest_memory(), time.process_time()
    is_finished = engine.crawl()
    seconds = time.process_time() - began
    memory = highest_memory() - memory
    journal.close()
    if last is None and (not is_finished or sink.next_number != pages):
        raise CrawlError(f"{sink.next_number} pages of {pages}")
    return {
        "pages": sink.next_number,
        "us": seconds / sink.next_number * 1e6,
        "own us": own_cost(min(pages, 20_000)),
        "bytes": memory / sink.next_number,
        "disk": path.stat().st_size / sink.next_number,
    }


def own_cost(pages: int) -> float:
    """Microseconds a page that the executor takes and an engine isn't to blame for."""
    executor = AtOnce(pages)
    requests = [Request(f"{SITE}{number}") for number in range(pages)]
    began = time.process_time()
    for request in requests:
        executor.submit(None, None, request).result()
    return (time.process_time() - began) / pages * 1e6


def resume(pages: int, path: Path, done: int) -> dict[str, float]:
    """Go on with a crawl that was stopped; seconds until the first request went out."""
    executor, sink = AtOnce(pages, last=1), Numbers(done)
    memory, began, began_wall = highest_memory(), time.process_time(), time.monotonic()
    journal = Journal.open(path)
    engine = executor.engine = make_engine(executor, journal, sink)
    engine.resume()
    engine.crawl()
    journal.close()
    if executor.first_at is None or sink.next_number != done + 1:
        raise CrawlError(f"resumed at page {sink.next_number} instead of {done}")
    return {
        "seconds": executor.first_at - began,
        "wall": time.monotonic() - began_wall,
        "bytes": (highest_memory() - memory) / pages,
    }


def highest_memory() -> int:
    """Bytes of memory that this process had at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise CrawlError("VmHWM is not in /proc/self/status; this program needs Linux")


def in_process(*arguments: object) -> dict[str, float]:
    """The same program for one measurement, so that each has its memory for itself."""
    command = [sys.executable, "-m", "benchmarks.frontier", "--one", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(pages: int) -> None:
    """Measure all sizes and print the table."""
    print("| pages | CPU us a page | bytes of memory a page | bytes on disk |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in [size for size in (pages // 100, pages // 10, pages) if size]:
            found = in_process("crawl", size, Path(folder, f"{size}.sqlite"))
            row = [found["us"], found["own us"], found["bytes"], found["disk"]]
            print(f"| {size:,} | " + " | ".join(f"{value:.0f}" for value in row) + " |")
        path = Path(folder, "half.sqlite")
        half = in_process("crawl", pages, path, pages // 2)
        found = in_process("resume", pages, path, int(half["pages"]))
    print(
        f"\nstopped after {half['pages']:,.0f} of {pages:,} pages and resumed: the first request "
        f"after {found['seconds']:.2f} CPU seconds"
    )


def one(what: str, pages: str, path: str, number: str | None = None) -> None:
    """A single measurement, for `in_process`."""
    logging.disable()
    if what == "crawl":
        found = crawl(int(pages), Path(path), last=None if number is None else int(number))
    else:
        found = resume(int(pages), Path(path), int(number or 0))
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
