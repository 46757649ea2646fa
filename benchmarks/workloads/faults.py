"""A bad day: 5 % of answers are status 500, 1 % never come, 1 % are resets of the connection.

Each attempt has its luck anew. All may try eight times more and wait two seconds for an answer. The
answer has to be the same as on a good day; what the bad one costs is the
difference of the medians.
"""

from __future__ import annotations

from benchmarks import nginx
from benchmarks.answers import pages_in
from benchmarks.programs import ours, peer
from benchmarks.rounds import Bench, say
from benchmarks.section import Section
from benchmarks.sites import write_site
from benchmarks.table import Table, number

NEEDS_NGINX = True
PAGES = 2_000
BAD = nginx.Weather(errors=5, stalls=1, resets=1)
PATIENCE = ("--retries", "8", "--timeout", "2")
PROGRAMS = [
    ours("threads", "--mode", "threads", *PATIENCE),
    ours("async", "--mode", "async", *PATIENCE, packages=("aiohttp",)),
    peer("Scrapy", "with_scrapy.py", "scrapy", "uvloop", more=("8", "2")),
    peer("Crawlee, parsel", "with_crawlee.py", "crawlee", "parsel", more=("8", "2")),
]


def measure(bench: Bench) -> Section:
    """The same site on a good day and on a bad one."""
    folder = bench.scratch / "site"
    start = write_site(folder, pages=PAGES)
    section = Section("faults")
    for day, weather in (("good", nginx.Weather()), ("bad", BAD)):
        say(f"a {day} day")
        with nginx.serve(folder, bench.scratch / "nginx", weather=weather) as (site,):
            starts = [site + start]
            runs = bench.in_turn(PROGRAMS, starts, pages_in(folder, starts))
        section.add(day, f"A {day} day, {PAGES:,} pages", runs)
    return section


def difference(section: Section) -> Table:
    """What the bad day costs beyond the good one, made from the figures."""
    rows = []
    for name in section.figures.get("good", {}):
        good, bad = (section.median(day, name, "cpu") for day in ("good", "bad"))
        if good is not None and bad is not None:
            rows.append([name, number(bad - good)])
    return Table("What the bad day costs", ["", "CPU, ms a page"], rows)
