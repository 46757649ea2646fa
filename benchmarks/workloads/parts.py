"""What the time of a page is made of: two whole sites again, ours on an event loop.

Each part is measured by itself on the same pages, in a process of its own: what the libraries take
that fetch, decode and parse (aiohttp, lxml, lexbor), what it takes to find the links, and the start
of the command, shared among the site's pages. What is left of the whole crawl is all else: order,
journal, robots.txt, the spider's own lines, JSON, and the two threads' waiting for each other.

A crawler in Python that looks at every link of these pages can't take less than fetching, parsing
and finding them do: this is the reason why some goals above can't be met.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import nginx
from benchmarks.answers import pages_in
from benchmarks.meter import REPOSITORY
from benchmarks.meter import measure as measure_command
from benchmarks.programs import Program, ours, ours_fast
from benchmarks.rounds import HERE, Bench, say
from benchmarks.section import Section
from benchmarks.table import Table, spread
from benchmarks.workloads.docs import SITES
from crawler import Response

NEEDS_NGINX = True
NEEDS_SITES = tuple(SITES)
CONCURRENCY = 16
ROWS = {
    "start": "the start of the command",
    "fetch": "fetching, aiohttp alone",
    "decode": "decoding",
    "parse": "parsing",
    "links": "finding the links",
    "requests": "making requests of them",
    "else": "all else",
    "whole": "**the whole crawl**",
}
PROGRAMS = {
    "async": ours("async", "--mode", "async", packages=("aiohttp",)),
    "async, fast": ours_fast("async", "--mode", "async"),
}


def measure(bench: Bench) -> Section:
    """Both sites, those of them that are installed."""
    section = Section("parts")
    for package, folder in SITES.items():
        if not folder.exists():
            section.notes.append(f"The package {package} was not installed.")
            continue
        with nginx.serve(folder, bench.scratch / "nginx") as (site,):
            start = f"{site}/index.html"
            urls = list(pages_in(folder, [start]))
            columns: dict[str, list[dict[str, float]]] = {
                name: [] for name, program in PROGRAMS.items() if bench.missing(program) is None
            }
            for _ in range(bench.rounds):
                for name, rounds in columns.items():
                    rounds.append(_parts(bench, PROGRAMS[name], start, urls))
        rows = [
            [text, *(spread([round_[row] for round_ in rounds]) for rounds in columns.values())]
            for row, text in ROWS.items()
        ]
        heads = [f"{name}: CPU, ms a page" for name in columns]
        section.tables.append(Table(f"{package}, {len(urls):,} pages", ["", *heads], rows))
    return section


def _parts(bench: Bench, program: Program, start: str, urls: list[str]) -> dict[str, float]:
    """One round of one program: milliseconds a page of each part."""
    say(f"  {program.name}: {len(urls)} pages and their parts")
    whole = _command(bench, program, start) / len(urls) * 1e3
    parts = _in_process("fast" if "fast" in program.name else "core", urls)
    parts["start"] = _command(bench, program, start, "--max-pages", "1") / len(urls) * 1e3
    return {**parts, "else": whole - sum(parts.values()), "whole": whole}


def _command(bench: Bench, program: Program, start: str, *options: str) -> float:
    """CPU seconds of a crawl."""
    folder = bench.scratch / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "starts.txt").write_text(start, encoding="utf-8")
    names = {
        "python": bench.python,
        "here": str(HERE),
        "starts": str(folder / "starts.txt"),
        "out": str(folder / "answer.jsonl"),
        "concurrency": str(CONCURRENCY),
    }
    command = [part.format_map(names) for part in program.command]
    return measure_command([*command, *options], cwd=folder, said=folder / "said.txt").cpu


def _in_process(which: str, urls: list[str]) -> dict[str, float]:
    """The parts that can be measured by themselves, in a process that did nothing before."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workloads.parts", which],
        input="\n".join(urls),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _main(which: str) -> None:
    urls = sys.stdin.read().split()
    began = time.process_time()
    bodies = asyncio.run(_fetched(urls))
    found = {"fetch": (time.process_time() - began) / len(urls) * 1e3}
    headers = {"Content-Type": "text/html"}
    pages = [Response(url, body, headers=headers) for url, body in zip(urls, bodies, strict=True)]
    steps: dict[str, Callable[[Response], Any]] = {
        "decode": lambda page: page.text,
        "parse": (lambda page: page.lexbor) if which == "fast" else (lambda page: page.selector),
        "links": lambda page: page.links(),
        "requests": lambda page: list(page.follow_all()),
    }
    for step in steps.values():
        step(pages[0])  # imports what is needed, which the start of the command counts
    taken = dict.fromkeys(steps, 0.0)
    for page in iter(pages.pop, pages[0]):  # what a page has made is gone before the next one
        for name, step in steps.items():
            began = time.process_time()
            step(page)
            taken[name] += time.process_time() - began
    print(
        json.dumps(
            {**found, **{name: seconds / len(urls) * 1e3 for name, seconds in taken.items()}}
        )
    )


async def _fetched(urls: list[str]) -> list[bytes]:
    """The pages' bodies, by a loop that does nothing else with them."""
    import aiohttp

    bodies = dict.fromkeys(urls, b"")
    waiting = iter(urls)

    async def work(session: aiohttp.ClientSession) -> None:
        for url in waiting:
            async with session.get(url) as response:
                bodies[url] = await response.read()

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        await asyncio.gather(*(work(session) for _ in range(CONCURRENCY)))
    return list(bodies.values())


if __name__ == "__main__":
    _main(*sys.argv[1:])
