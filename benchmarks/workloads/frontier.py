"""What a URL costs in the engine itself: a made-up site, and an executor that answers at once.

No network and no spider: what is left is everything between, scheduler, ranks, dupefilter,
frontier, journal on disk, collector, and the engine's loop. Each size runs in a process of its own;
its memory is the highest that the process took, less what it took before the crawl. 10,000,000
URLs take many minutes: they are measured once, and only where five rounds or more are asked for.
"""

from __future__ import annotations

import cProfile
import json
import logging
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.meter import REPOSITORY
from benchmarks.rounds import ROUNDS, Bench, say
from benchmarks.section import Section
from benchmarks.table import Table, spread
from benchmarks.table import number as number_of
from crawler.collector import Collector
from crawler.engine import Engine
from crawler.errors import CrawlError
from crawler.journal import Journal
from crawler.pipeline import Pipeline
from crawler.politeness import Politeness
from crawler.process import collect_garbage_less_often
from crawler.request import Request
from crawler.result import Item, Result
from crawler.retry import RetryPolicy
from crawler.scheduler import Scheduler

NEEDS_NGINX = False
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
COLUMNS = {
    "us": "CPU, µs a URL",
    "own us": "of these the executor's",
    "bytes": "memory, bytes a URL",
    "disk": "journal, bytes a URL",
}
SITE = "https://www.example.org/section/page/"
LINKS = 4
"""New links on a page, at most: three pages of four are at the end of the site."""
KNOWN = 1
"""Links on a page that lead to pages known already."""
SLOTS = 16
PROFILED = 20_000
LEAST_SHARE = 2.0
"""Per cent; modules that take less stand together."""
PROFILE = f"{PROFILED:,} URLs profiled: where the time goes (a profile makes each call dearer)"
OWN, PYTHONS, OTHERS = "(the executor and the sink)", "(Python's library)", "(the rest of ours)"


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
        # Items that differ in nothing but the number would look like those of an endless site.
        item = {"n": number, "text": f"{number * 2_654_435_761 % 2**32:x}"}
        future.set_result(Result(items=[item], follow=follow, status=200, body_bytes=20_000))
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

    def checkpointed(self) -> None:
        pass

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


def profile(pages: int, path: Path, *, least: float = LEAST_SHARE) -> dict[str, float]:
    """The share of each of our modules, in per cent; SQLite's time is that of its callers.

    Those of less than `least` are put together.
    """
    journal = Journal.create(path)
    profiler = cProfile.Profile(builtins=False)
    profiler.runcall(make_engine(AtOnce(pages), journal, Numbers()).crawl)
    journal.close()
    seconds: defaultdict[str, float] = defaultdict(float)
    for entry in profiler.getstats():
        file = Path(getattr(entry.code, "co_filename", ""))
        is_ours = file.is_relative_to(REPOSITORY / "crawler")
        module = file.stem if is_ours else OWN if file == Path(__file__) else PYTHONS
        seconds[module] += entry.inlinetime
    whole = sum(seconds.values())
    shares: defaultdict[str, float] = defaultdict(float)
    for module, own in seconds.items():
        share = own / whole * 100
        shares[module if share >= least else OTHERS] += share
    return dict(sorted(shares.items(), key=itemgetter(1), reverse=True))


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
    command = [sys.executable, "-m", "benchmarks.workloads.frontier", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=REPOSITORY)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(bench: Bench) -> Section:
    """All sizes, the profile, and how a crawl goes on."""
    section = Section("frontier")
    sizes = section.figures["frontier"] = {}
    rows = []
    for size in SIZES if bench.rounds >= ROUNDS else SIZES[:-1]:
        own = sizes[f"{size:,} URLs"] = {name: [] for name in COLUMNS}
        for number in range(bench.rounds if size < SIZES[-1] else 1):
            found = in_process("crawl", size, bench.scratch / f"{size}-{number}.sqlite")
            say(f"  {size:,} URLs: {found['us']:.1f} us, {found['bytes']:.0f} bytes a URL")
            for name in COLUMNS:
                own[name].append(found[name])
        rows.append([f"{size:,} URLs", *(spread(own[name]) for name in COLUMNS)])
    section.tables.append(Table("", ["", *COLUMNS.values()], rows))
    shares = in_process("profile", PROFILED, bench.scratch / "profile.sqlite")
    section.figures["profile"] = {name: {"share": [share]} for name, share in shares.items()}
    rows = [[name, number_of(share)] for name, share in shares.items()]
    section.tables.append(Table(PROFILE, ["module", "share, %"], rows))
    size = SIZES[-2]
    path = bench.scratch / "half.sqlite"
    half = in_process("crawl", size, path, size // 2)
    found = in_process("resume", size, path, int(half["pages"]))
    section.notes.append(
        f"Stopped after {half['pages']:,.0f} of {size:,} URLs and resumed, the first request goes "
        f"out after {number_of(found['seconds'])} CPU seconds."
    )
    return section


def one(what: str, pages: str, path: str, number: str | None = None) -> None:
    """A single measurement, for `in_process`."""
    logging.disable()
    collect_garbage_less_often()  # as the command does
    if what == "crawl":
        found = crawl(int(pages), Path(path), last=None if number is None else int(number))
    elif what == "profile":
        found = profile(int(pages), Path(path))
    else:
        found = resume(int(pages), Path(path), int(number or 0))
    print(json.dumps(found))


if __name__ == "__main__":
    one(*sys.argv[1:])
