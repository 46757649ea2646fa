"""Who takes part: our modes and the peers, each as a command line and what it needs.

A command's parts may name {python} (which has our package), {peers} (which has those of
peers.txt), {here} (this folder), {starts} (a file of URLs), {start} (the first of them), {paths} (a
file of the paths of all pages), {out} (the file or folder to write) and {concurrency}.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answers import Pages, WrongAnswerError, check, check_urls, pages_of

Check = Callable[[Path, str, Pages], int]
"""Of (what it wrote, what it printed, what is expected): how many pages it fetched."""


def pages_are_right(out: Path, said: str, expected: Pages) -> int:
    """Of a program that writes the common form."""
    check(pages_of(out), expected)
    return len(expected)


def files_are_there(out: Path, said: str, expected: Pages) -> int:
    """Of wget2, which makes a file of each page: out/PATH."""
    site = next(iter(expected)).split("/")[:3]
    files = (file.relative_to(out) for file in out.rglob("*.html"))
    check_urls({"/".join([*site, str(file)]) for file in files}, expected)
    return len(expected)


def all_were_answered(out: Path, said: str, expected: Pages) -> int:
    """Of wrk, which goes round the pages until its time is over, and says how often."""
    if "Non-2xx" in said or "Socket errors" in said:
        raise WrongAnswerError("not all requests were answered")
    asked = re.search(r"(\d+) requests in", said)
    if asked is None:
        raise WrongAnswerError("it doesn't say how many requests it made")
    return int(asked[1])


@dataclass(frozen=True, slots=True)
class Program:
    """A program that may take part."""

    name: str
    command: tuple[str, ...]
    packages: tuple[str, ...] = ()
    """Python packages that it imports besides those of ours."""
    tool: str | None = None
    """The command that it is, for those that are none of Python."""
    check: Check = pages_are_right
    environment: tuple[tuple[str, str], ...] = ()
    is_ours: bool = False
    about: str = ""
    """What it does, of a tool that no file in peers/ tells of."""


def ours(
    name: str, *options: str, packages: tuple[str, ...] = (), file: str = "pages.py"
) -> Program:
    """One of the files in spiders/; with journal, order and robots.txt, as always."""
    command = (
        *("{python}", "-m", "crawler", "run", "{here}/spiders/" + file, "--urls", "{starts}"),
        *("-o", "{out}", "-q", "--concurrency", "{concurrency}", *options),
    )
    return Program(f"ours, {name}", command, packages, is_ours=True)


def ours_fast(name: str, *options: str) -> Program:
    """The same spider with the extras `async` and `fast`."""
    return ours(f"{name}, fast", *options, packages=("aiohttp", "selectolax"), file="pages_fast.py")


def peer(name: str, file: str, *packages: str, more: tuple[str, ...] = ()) -> Program:
    """One of the files in peers/; `more` arguments follow the three that all get."""
    command = ("{peers}", "{here}/peers/" + file, "{starts}", "{out}", "{concurrency}", *more)
    return Program(name, command, packages)


_PROCESSES = ("--mode", "processes", "-j", "2")
OURS = [
    ours("threads", "--mode", "threads"),
    ours("async", "--mode", "async", packages=("aiohttp",)),
    ours_fast("async", "--mode", "async"),
    ours("processes, 2 workers", *_PROCESSES, packages=("aiohttp",)),
    ours_fast("processes, 2 workers", *_PROCESSES),
]
"""Each mode, with the core packages and, where it says so, with those of the extra `fast`.
Processes fetch with aiohttp where it is installed."""

SCRAPY = peer("Scrapy", "with_scrapy.py", "scrapy", "uvloop")
SCRAPY_BY_HAND = peer(
    "Scrapy, links sorted out by hand", "with_scrapy_by_hand.py", "scrapy", "uvloop"
)
CRAWLEE = peer("Crawlee, parsel", "with_crawlee.py", "crawlee", "parsel")
LOOP = peer("loop by hand: aiohttp, lxml", "with_aiohttp.py", "aiohttp", "uvloop", "lxml")
SOUP = peer("threads by hand: requests, bs4", "with_threads_and_soup.py", "requests", "bs4", "lxml")
POOL = peer("multiprocessing.Pool: requests, lxml", "with_processes.py", "requests", "lxml")

WGET2 = Program(
    "floor: wget2, fetches only",
    (
        *("wget2", "-q", "-r", "-l", "inf", "-nH", "--no-robots", "--follow-tags=a/href"),
        *("--max-threads={concurrency}", "--tries=1", "-P", "{out}", "{start}"),
    ),
    tool="wget2",
    check=files_are_there,
    about="A program in C that follows the site's links and saves its files. What it does and we "
    "don't, as it is set here: nothing. What we do and it doesn't: run a spider, so that it writes "
    "neither titles nor links; order, a journal, robots.txt, retries.",
)
WRK = Program(
    "floor: wrk, the server",
    ("wrk", "-t1", "-c{concurrency}", "-d3s", "-s", "{here}/peers/paths.lua", "{start}"),
    tool="wrk",
    check=all_were_answered,
    environment=(("PATHS", "{paths}"),),
    about="It makes load for servers: asks for the site's pages again and again, three seconds "
    "long, and drops what comes (`peers/paths.lua` tells it the paths). It isn't a crawler at all; "
    "no program here can be faster than the server is with it.",
)

PEERS = [SCRAPY, SCRAPY_BY_HAND, CRAWLEE, LOOP, POOL, SOUP, WGET2, WRK]
