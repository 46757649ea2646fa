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
    why_not: str = ""
    """Why it can't be met, or isn't yet."""

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


LIBRARIES = (
    "Against Scrapy and the loop by hand: see `parts`. Nearly all of a page's time is taken by "
    "what parses it, finds its links and fetches it, and a whole start of the command is shared by "
    "a few hundred pages. If all else cost nothing, the ratio would hardly be another one; and "
    "Scrapy takes less here than when the goal was set."
)
TWO_CORES = (
    "Processes: two workers, the engine, and the server that they crawl share the machine's cores. "
    "With two of them there is no second worker's worth of time left."
)
ONE_CORE = (
    "Latency: to keep that many requests in flight, a page may take half a millisecond in all. The "
    "loop by hand, which keeps no order and no journal, takes about as much for fetching alone."
)
PYTHON_CODE = (
    "A URL in the engine: what is left is spread over a hundred calls, none of which stands out, "
    "and the journal's two statements. It would have to be compiled."
)

PYTHON, POSTGRES = "python3-doc", "postgresql-doc-15"
THREADS, ASYNC, FAST = "ours, threads", "ours, async", "ours, async, fast"
FAST_PROCESSES = "ours, processes, 2 workers, fast"
SCRAPY, SCRAPY_BY_HAND = "Scrapy", "Scrapy, links sorted out by hand"
LOOP, SOUP = "loop by hand: aiohttp, lxml", "threads by hand: requests, bs4"


def _times_less(site: str, peer: str, own: str, limit: float) -> Goal:
    """How many times the CPU of ours a peer takes."""
    return Goal(
        "docs",
        f"{site}, CPU: {peer} / {own}",
        True,
        limit,
        lambda section: section.ratio(site, (peer, "cpu"), (own, "cpu")),
        LIBRARIES,
    )


def _seconds(own: str) -> Goal:
    return Goal(
        "seed",
        f"four pages of 1 s, whole command: {own}, s",
        False,
        1.45,
        lambda section: section.median("seed", own, "seconds"),
    )


def _fullness(own: str) -> Goal:
    def figure(section: Section) -> float | None:
        speed = section.median("latency", own, "speed")
        return None if speed is None else speed / IDEAL

    text = f"latency, pages a second / (200 / 0.1 s): {own}"
    return Goal("latency", text, True, 0.95, figure, ONE_CORE)


def _an_item(fmt: str) -> Goal:
    text = f"CPU of an item beyond the spider's own, µs: {fmt}"
    return Goal("items", text, False, 12, lambda section: section.median("items", fmt, "us"))


def _frontier(size: str, name: str, text: str, limit: float) -> Goal:
    return Goal(
        "frontier",
        text,
        False,
        limit,
        lambda section: section.median("frontier", size, name),
        PYTHON_CODE if name == "us" else "",
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
    _times_less(PYTHON, SOUP, THREADS, 8),
    _times_less(POSTGRES, SCRAPY, ASYNC, 4.5),
    _times_less(POSTGRES, SCRAPY_BY_HAND, ASYNC, 4.5),
    Goal(
        "docs",
        f"{PYTHON}, pages a second: {FAST_PROCESSES} / {SCRAPY}",
        True,
        20,
        lambda section: section.ratio(PYTHON, (FAST_PROCESSES, "speed"), (SCRAPY, "speed")),
        TWO_CORES,
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
    _frontier(MILLION, "us", "CPU of a URL in the engine, µs, of 1 million", 30),
    _frontier(TEN_MILLIONS, "bytes", "memory of a URL, bytes, of 10 millions", 120),
    Goal(
        "frontier",
        "CPU of a URL, of 10 millions / of 1 million",
        False,
        1.1,
        _growth_of_frontier,
    ),
    _an_item("ours, to JSON lines"),
    _an_item("ours, to JSON"),
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
    reasons = dict.fromkeys(f"- {goal.why_not}\n" for goal in missed if goal.why_not)
    parts = [Table("", ["goal", "aim", "measured", "met"], rows).markdown()]
    if reasons:
        parts += ["Those that are not met:\n", "".join(reasons)]
    return "\n".join(parts)
