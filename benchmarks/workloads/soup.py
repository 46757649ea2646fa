"""The same spider with what users parse pages with: BeautifulSoup, parsel, selectolax.

On PostgreSQL's documentation, on an event loop; then BeautifulSoup in threads, beside the script
that everybody writes, and in one worker process and in two, which is what processes are for.
"""

from __future__ import annotations

from benchmarks import nginx
from benchmarks.answers import pages_in
from benchmarks.programs import SOUP, Program
from benchmarks.rounds import Bench
from benchmarks.section import Section
from benchmarks.workloads.docs import SITES

NEEDS_NGINX = True
PACKAGE = "postgresql-doc-15"
NEEDS_SITES = (PACKAGE,)


def program(name: str, function: str, *options: str, packages: tuple[str, ...] = ()) -> Program:
    """The crawl with one of the spiders."""
    command = (
        *("{python}", "-m", "crawler", "run", "{here}/spiders/parsers.py:" + function),
        *("--urls", "{starts}", "-o", "{out}", "-q", "--concurrency", "{concurrency}", *options),
    )
    return Program(f"ours, {name}", command, ("aiohttp", *packages), is_ours=True)


PROGRAMS = [
    program("selectolax", "with_selectolax", "--mode", "async", packages=("selectolax",)),
    program("parsel", "with_parsel", "--mode", "async"),
    program("BeautifulSoup", "with_soup", "--mode", "async"),
    program("BeautifulSoup, threads", "with_soup", "--mode", "threads"),
    SOUP,
    program("BeautifulSoup, 1 process", "with_soup", "--mode", "processes", "-j", "1"),
    program("BeautifulSoup, 2 processes", "with_soup", "--mode", "processes", "-j", "2"),
]


def measure(bench: Bench) -> Section:
    """One site, if it is installed."""
    section = Section("soup")
    if not SITES[PACKAGE].exists():
        section.notes.append(f"The package {PACKAGE} was not installed.")
        return section
    with nginx.serve(SITES[PACKAGE], bench.scratch / "nginx") as (site,):
        starts = [f"{site}/index.html"]
        runs = bench.in_turn(PROGRAMS, starts, pages_in(SITES[PACKAGE], starts))
    section.add("soup", "", runs)
    return section
