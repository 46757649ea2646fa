"""10,000 pages of 100 items each, written to JSON and to JSON lines.

The spider makes its items from the page's number. What an item costs is what the crawl takes beyond
one of the same pages without items, less what the spider takes to make them.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

from benchmarks import nginx
from benchmarks.answers import Pages, WrongAnswerError
from benchmarks.programs import Program
from benchmarks.rounds import Bench
from benchmarks.section import Section
from benchmarks.sites import write_site
from benchmarks.spiders.items import items
from benchmarks.table import Table, spread
from benchmarks.table import number as number_of
from crawler import Response

NEEDS_NGINX = True
PAGES = 10_000
EACH = 100
NONE, JSON, LINES = "ours, no items", "ours, to JSON", "ours, to JSON lines"


def program(name: str, count: int, suffix: str = "") -> Program:
    """The crawl, with so many items a page, to a file that ends so."""

    def items_are_there(out: Path, said: str, expected: Pages) -> int:
        number = items_in(Path(f"{out}{suffix}"))
        if number != len(expected) * count:
            raise WrongAnswerError(f"{number:,} items of {len(expected) * count:,}")
        return len(expected)

    command = (
        *("{python}", "-m", "crawler", "run", "{here}/spiders/items.py", "--urls", "{starts}"),
        *("-q", "--mode", "async", "--concurrency", "{concurrency}", "-a", f"count={count}"),
        *("-o", "{out}" + suffix),
    )
    return Program(name, command, ("aiohttp",), check=items_are_there, is_ours=True)


def items_in(path: Path) -> int:
    """How many; raises WrongAnswerError if one is not in its place, page by page."""
    found = 0
    with path.open("rb") as lines:
        for line in lines:
            text = line.strip().rstrip(b",")
            if text.strip(b"[]"):
                item = json.loads(text)
                if (item["page"], item["number"]) != divmod(found, EACH):
                    raise WrongAnswerError(f"item {found:,} is {item['number']} of {item['page']}")
                found += 1
    return found


def measure(bench: Bench) -> Section:
    """The crawl without items, and with them in both formats."""
    folder = bench.scratch / "items"
    write_site(folder, pages=PAGES, links=0, size=500)
    programs = [program(NONE, 0), program(LINES, EACH), program(JSON, EACH, ".json")]
    with nginx.serve(folder, bench.scratch / "nginx") as (site,):
        starts = [f"{site}/{number}.html" for number in range(PAGES)]
        runs = bench.in_turn(programs, starts, dict.fromkeys(starts, ""))
    section = Section("items")
    section.add("crawls", f"{PAGES:,} pages, {PAGES * EACH:,} items", runs, per_page=False)
    made = [makers_cost() for _ in range(bench.rounds)]
    rows = []
    for name in (LINES, JSON):
        if NONE in runs.figures and name in runs.figures:
            own = section.figures.setdefault("items", {})[name] = {"us": []}
            with_items, without = (runs.figures[which]["cpu_seconds"] for which in (name, NONE))
            for each in zip(with_items, without, made, strict=True):
                own["us"].append((each[0] - each[1] - each[2]) / (PAGES * EACH) * 1e6)
            rows.append([name, spread(own["us"])])
    section.tables.append(Table("What an item costs", ["", "CPU, µs an item"], rows))
    cost = statistics.median(made) / (PAGES * EACH) * 1e6
    section.notes.append(f"The spider itself takes {number_of(cost)} µs to make an item.")
    return section


def makers_cost() -> float:
    """Seconds of CPU in which the spider makes all items, without a crawl."""
    responses = [Response(f"http://127.0.0.1/{number}.html") for number in range(PAGES)]
    began = time.process_time()
    for response in responses:
        for _ in items(response, count=EACH):
            pass
    return time.process_time() - began
