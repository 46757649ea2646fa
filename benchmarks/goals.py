"""What was aimed at, and whether it is met: read off the figures, workload by workload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.section import Section
from benchmarks.table import Table, number
from benchmarks.workloads.latency import IDEAL


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of a workload, and how high or low it should be."""

    workload: str
    text: str
    is_least: bool
    """Whether the limit is the least that it should be; else the most."""
    limit: float
    figure: Callable[[Section], float | None]
    """None if it was not measured."""
    why_not: str
    """Why it isn't met wherever it isn't."""

    def is_met_by(self, section: Section | None) -> bool | None:
        """None if it was not measured."""
        measured = None if section is None else self.figure(section)
        if measured is None:
            return None
        return measured >= self.limit if self.is_least else measured <= self.limit

    def row(self, section: Section | None) -> list[str]:
        """Text, limit, what was measured, whether it is met."""
        measured = None if section is None else self.figure(section)
        aim = f"{'≥' if self.is_least else '≤'} {number(self.limit)}"
        if measured is None:
            return [self.text, aim, "not measured", ""]
        return [self.text, aim, number(measured), "yes" if self.is_met_by(section) else "**no**"]


# Reasons hold on any machine: what a figure is here, the tables say.
LIBRARIES = (
    "CPU against Scrapy and the loop by hand: `parts` shows what a page's time is made of. "
    "Fetching and parsing is the libraries' work, which the loop by hand has to pay as well, and "
    "the start of the command is shared by no more pages than the site has. What could still be "
    "saved is a part of the rest."
)
PARSER = (
    "CPU against requests and bs4: the parser is what differs. The work of requests itself and the "
    "hand-overs between threads are in both, and the smaller the pages, the larger is their part: "
    "`docs` has a site of large pages and one of small ones."
)
WORKERS = (
    "Pages a second against Scrapy: two workers fill at most two cores where Scrapy fills one. To "
    "be twenty times as fast, they may take a tenth of Scrapy's CPU for a page (see `docs`), on "
    "cores that the engine and the server leave free."
)
TWO_CORES = (
    "A second worker process: with the engine and the server that they crawl, there are four that "
    "compute. Where there are fewer cores (see the machine, at the end), it gets what the others "
    "leave; where there are enough, both workers wait for the engine, which is one."
)
ONE_CORE = (
    "Latency: to keep that many requests in flight, a page may take half a millisecond in all, "
    "since one interpreter is one core. `latency` shows what a page takes instead, and the loop by "
    "hand, which keeps no order and no journal, what of it is fetching alone."
)
IMPORTS = (
    "The whole command for four pages: the pages take one second; the rest is the command's start, "
    "its imports above all. `seed` shows it beside scripts that import requests and lxml alone."
)
PYTHON_CODE = (
    "A URL in the engine: it is Python code in many small modules, and `python -m benchmarks "
    "frontier` shows the share of each. Where none stands out, it would have to be compiled."
)
MARKS = (
    "Memory of a URL: most is its mark in the dupefilter, as full as the dict's table happens to "
    "be (`crawler/dupefilter.py`); a table that grows stands beside the old one for a moment."
)
CACHES = (
    "CPU of a URL, the more there are: the dict of marks and the journal's trees outgrow the "
    "processor's caches; from Python 3.14 on the garbage collector looks through the marks, too."
)
ITEMS = (
    "An item: it is made plain and a line for the journal's folder at commit, and copied to the "
    "file at the end. `formats` shows what the line takes, and what the file."
)
SAME_BYTES = (
    "An item with `fast`: JSON is written as without it. There is no faster way to write the same "
    "bytes, and a file must not depend on what is installed: see JSON in `docs/decisions.md`."
)
WINDOW = (
    "Memory with items: pages that are ready before their turn are held with their items, up to a "
    "limit (`crawler/collector.py`)."
)

PYTHON, POSTGRES = "python3-doc", "postgresql-doc-15"
THREADS, ASYNC, FAST = "ours, threads", "ours, async", "ours, async, fast"
FAST_PROCESSES = "ours, processes, 2 workers, fast"
SCRAPY, SCRAPY_BY_HAND = "Scrapy", "Scrapy, links sorted out by hand"
LOOP, SOUP = "loop by hand: aiohttp, lxml", "threads by hand: requests, bs4"
LINES, JSON, NO_ITEMS = "ours, to JSON lines", "ours, to JSON", "ours, no items"


def _times_less(site: str, peer: str, own: str, limit: float, why_not: str = LIBRARIES) -> Goal:
    """How many times the CPU of ours a peer takes."""
    return Goal(
        "docs",
        f"{site}, CPU: {peer} / {own}",
        True,
        limit,
        lambda section: section.ratio(site, (peer, "cpu"), (own, "cpu")),
        why_not,
    )


def _seconds(own: str) -> Goal:
    return Goal(
        "seed",
        f"four pages of 1 s, whole command: {own}, s",
        False,
        1.45,
        lambda section: section.median("seed", own, "seconds"),
        IMPORTS,
    )


def _fullness(own: str) -> Goal:
    def figure(section: Section) -> float | None:
        speed = section.median("latency", own, "speed")
        return None if speed is None else speed / IDEAL

    text = f"latency, pages a second / (200 / 0.1 s): {own}"
    return Goal("latency", text, True, 0.95, figure, ONE_CORE)


def _an_item(fmt: str, limit: float, why_not: str, note: str = "") -> Goal:
    text = f"CPU of an item beyond the spider's own, µs{note}: {fmt}"
    return Goal(
        "items",
        text,
        False,
        limit,
        lambda section: section.median("items", fmt, "us"),
        why_not,
    )


def _memory_of_items(fmt: str) -> Goal:
    text = f"memory with a million items / with none: {fmt}"
    return Goal(
        "items",
        text,
        False,
        1.1,
        lambda section: section.ratio("crawls", (fmt, "memory"), (NO_ITEMS, "memory")),
        WINDOW,
    )


def _frontier(size: str, name: str, text: str, limit: float, why_not: str) -> Goal:
    return Goal(
        "frontier",
        text,
        False,
        limit,
        lambda section: section.median("frontier", size, name),
        why_not,
    )


def _growth_of_frontier(section: Section) -> float | None:
    small, large = (section.median("frontier", size, "us") for size in (MILLION, TEN_MILLIONS))
    return None if small is None or large is None else large / small


MILLION, TEN_MILLIONS = "1,000,000 URLs", "10,000,000 URLs"
ONE_PROCESS, TWO_PROCESSES = "ours, BeautifulSoup, 1 process", "ours, BeautifulSoup, 2 processes"
GOALS = [
    _times_less(PYTHON, SCRAPY, ASYNC, 9),
    _times_less(PYTHON, SCRAPY_BY_HAND, ASYNC, 9),
    _times_less(PYTHON, SCRAPY, FAST, 13),
    _times_less(PYTHON, SCRAPY_BY_HAND, FAST, 13),
    _times_less(PYTHON, SOUP, THREADS, 8, PARSER),
    _times_less(POSTGRES, SOUP, THREADS, 8, PARSER),
    _times_less(POSTGRES, SCRAPY, ASYNC, 4.5),
    _times_less(POSTGRES, SCRAPY_BY_HAND, ASYNC, 4.5),
    Goal(
        "docs",
        f"{PYTHON}, pages a second: {FAST_PROCESSES} / {SCRAPY}",
        True,
        20,
        lambda section: section.ratio(PYTHON, (FAST_PROCESSES, "speed"), (SCRAPY, "speed")),
        WORKERS,
    ),
    Goal(
        "docs",
        f"{PYTHON}, CPU: {FAST} / {LOOP}",
        False,
        0.7,
        lambda section: section.ratio(PYTHON, (FAST, "cpu"), (LOOP, "cpu")),
        LIBRARIES,
    ),
    _seconds(THREADS),
    _seconds(ASYNC),
    _fullness(ASYNC),
    _fullness(FAST),
    _frontier(MILLION, "us", "CPU of a URL in the engine, µs, of 1 million", 30, PYTHON_CODE),
    _frontier(TEN_MILLIONS, "bytes", "memory of a URL, bytes, of 10 millions", 120, MARKS),
    Goal(
        "frontier",
        "CPU of a URL, of 10 millions / of 1 million",
        False,
        1.1,
        _growth_of_frontier,
        CACHES,
    ),
    *(_an_item(fmt, 12, ITEMS) for fmt in (LINES, JSON)),
    *(_an_item(fmt, 5, SAME_BYTES, ", with `fast`") for fmt in (LINES, JSON)),
    *(_memory_of_items(fmt) for fmt in (LINES, JSON)),
    Goal(
        "soup",
        "pages a second: a spider that computes, 2 worker processes / 1",
        True,
        1.8,
        lambda section: section.ratio("soup", (TWO_PROCESSES, "speed"), (ONE_PROCESS, "speed")),
        TWO_CORES,
    ),
]


def table(sections: dict[str, Section]) -> str:
    """All goals, and why some are missed, as Markdown."""
    rows = [goal.row(sections.get(goal.workload)) for goal in GOALS]
    missed = [goal for goal in GOALS if goal.is_met_by(sections.get(goal.workload)) is False]
    reasons = dict.fromkeys(f"- {goal.why_not}\n" for goal in missed)
    parts = [Table("", ["goal", "aim", "measured", "met"], rows).markdown()]
    if reasons:
        parts += ["Those that are not met:\n", "".join(reasons)]
    return "\n".join(parts)
