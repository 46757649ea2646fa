"""Two whole sites: title and all links of every page, all followed, 16 requests in flight.

The documentation of Python (pages of 96 KB with 310 links, most of them twice) and of PostgreSQL
(14 KB, 20 links), as Debian packages it. The whole command is measured, its start included.

Scrapy appears twice: as its documentation says to follow links (LinkExtractor), and with the links
of a page joined and made unique by hand, which is what its spider's author can do for it.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import nginx
from benchmarks.answers import pages_in
from benchmarks.programs import OURS, PEERS
from benchmarks.rounds import Bench, say
from benchmarks.section import Section

NEEDS_NGINX = True
SITES = {
    "python3-doc": Path("/usr/share/doc/python3/html"),
    "postgresql-doc-15": Path("/usr/share/doc/postgresql-doc-15/html"),
}
NEEDS_SITES = tuple(SITES)


def measure(bench: Bench) -> Section:
    """Both sites, those of them that are installed."""
    section = Section("docs")
    for package, folder in SITES.items():
        if not folder.exists():
            section.notes.append(f"The package {package} was not installed.")
            continue
        with nginx.serve(folder, bench.scratch / "nginx") as (site,):
            starts = [f"{site}/index.html"]
            expected = pages_in(folder, starts)
            say(f"{package}: {len(expected)} pages")
            runs = bench.in_turn([*OURS, *PEERS], starts, expected)
        section.add(package, f"{package}, {len(expected):,} pages", runs)
    return section
