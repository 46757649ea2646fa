"""Four pages that take a second each, the whole command with a cold interpreter.

This is the script that most crawlers begin as: `map(spyder, urls)`, with a pool of four.
"""

from __future__ import annotations

from benchmarks import nginx
from benchmarks.answers import pages_in
from benchmarks.programs import ours, peer
from benchmarks.rounds import Bench
from benchmarks.section import Section
from benchmarks.sites import write_site

NEEDS_NGINX = True
LATENCY = 1.0
PAGES = 4
OURS = [
    ours("sequential", "--mode", "sequential"),
    ours("processes, 2 workers", "--mode", "processes", "-j", "2", "--concurrency", "2"),
    ours("processes, 4 workers", "--mode", "processes", "-j", "4"),
    ours("threads", "--mode", "threads"),
    ours("async", "--mode", "async", packages=("aiohttp",)),
]
SCRIPTS = {
    "none": "a loop: requests",
    "processes": "multiprocessing.Pool(4): requests",
    "threads": "multiprocessing.dummy.Pool(4): requests",
}
PEERS = [
    peer(name, "pool_of_four.py", "requests", "lxml", more=(kind,))
    for kind, name in SCRIPTS.items()
]


def measure(bench: Bench) -> Section:
    """Seconds, of time and of CPU."""
    folder = bench.scratch / "four"
    write_site(folder, pages=PAGES, links=0)
    with nginx.serve(folder, bench.scratch / "nginx", latency=LATENCY) as (site,):
        starts = [f"{site}/{number}.html" for number in range(PAGES)]
        runs = bench.in_turn([*OURS, *PEERS], starts, pages_in(folder, starts), concurrency=PAGES)
    section = Section("seed")
    section.add("seed", "", runs, per_page=False)
    return section
