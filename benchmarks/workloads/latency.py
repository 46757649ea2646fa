"""50 hosts that answer after 100 ms, 400 pages on each, 200 requests in flight.

What is measured is how full the 200 places are: 2,000 pages a second is all that there is. None is
held back from asking a host as often as it can.
"""

from __future__ import annotations

from benchmarks import nginx
from benchmarks.answers import pages_in
from benchmarks.programs import CRAWLEE, LOOP, OURS, SCRAPY
from benchmarks.rounds import Bench
from benchmarks.section import Section
from benchmarks.sites import write_site

NEEDS_NGINX = True
HOSTS = [f"127.0.{number // 10 + 1}.{number % 10 + 1}" for number in range(50)]
PAGES = 400
LATENCY = 0.1
CONCURRENCY = 200
IDEAL = CONCURRENCY / LATENCY
"""Pages a second."""
PROGRAMS = [*OURS, SCRAPY, CRAWLEE, LOOP]


def measure(bench: Bench) -> Section:
    """All hosts have the same pages."""
    folder = bench.scratch / "hosts"
    start = write_site(folder, pages=PAGES)
    with nginx.serve(folder, bench.scratch / "nginx", hosts=HOSTS, latency=LATENCY) as sites:
        starts = [site + start for site in sites]
        expected = pages_in(folder, starts)
        runs = bench.in_turn(PROGRAMS, starts, expected, concurrency=CONCURRENCY)
    section = Section("latency")
    section.add("latency", f"{len(expected):,} pages; {IDEAL:,.0f} pages/s is the most", runs)
    return section
