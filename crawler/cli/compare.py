"""`crawl compare`: the same crawl in every mode, timed, and the answers compared."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, ExitStack, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.flags import flag_layers, named, read_urls

if TYPE_CHECKING:
    from crawler.demo import PracticeSite
    from crawler.run import Crawl


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to run the crawl."""

    title: str
    mode: str
    workers: int

    @property
    def settings(self) -> dict[str, object]:
        # As many requests in flight as workers, so that only the mode differs.
        return {"mode": self.mode, "workers": self.workers, "concurrency": self.workers}


_WAYS = [
    _Way("sequential", "sequential", 1),
    _Way("2 processes", "processes", 2),
    _Way("4 processes", "processes", 4),
    _Way("4 threads", "threads", 4),
    _Way("event loop, 4 requests", "async", 4),
]


@click.command(short_help="Time a spider in every mode, compare results.")
@click.argument("spider", metavar="SPIDER", callback=named)
@click.option("--pages", metavar="PAGES", help="4, 2-9, 1,3,5 or until-empty.")
@click.option("--urls", multiple=True, metavar="FILE|URL", help="Start here; see crawl run.")
@click.option("--site", metavar="URL", help="Another place for the spider's site.")
@click.option("-a", "arguments", multiple=True, metavar="KEY=VALUE", help="A spider argument.")
@click.option("--retries", metavar="N", help="Further attempts after passing failures (2).")
@click.option("--latency", type=click.FloatRange(0), help="Seconds a practice page is late.")
@click.option("--fail", type=click.FloatRange(0, 1), help="Share of failing practice requests.")
def compare(
    spider: str,
    urls: tuple[str, ...],
    site: str | None,
    arguments: tuple[str, ...],
    latency: float | None,
    fail: float | None,
    **settings: str | None,
) -> None:
    """Run SPIDER sequentially, in processes, in threads and on an event loop, and compare."""
    import tempfile

    from crawler.arguments import parse_argument
    from crawler.cli.console import log_to_stderr
    from crawler.run import crawling

    log_to_stderr(0, 0)
    given = read_urls(urls)
    start = None if given is None else list(given)  # stdin can be read only once
    rows = []
    with ExitStack() as stack:
        practice = {k: v for k, v in {"latency": latency, "fail": fail}.items() if v is not None}
        place = _practice_site(spider, is_elsewhere=bool(site or urls), options=practice)
        if place is not None:
            site = stack.enter_context(place).url
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crawl-compare-")))
        for way in _WAYS:
            if way.mode == "async" and find_spec("aiohttp") is None:
                continue
            file = folder / f"{way.mode}-{way.workers}.json"
            crawl = crawling(
                spider,
                urls=start,
                site=site,
                arguments=dict(map(parse_argument, arguments)),
                outputs=[str(file)],
                output_folder=folder,
                flags=[*flag_layers(settings), ("crawl compare", way.settings)],
            )
            rows.append(_timed(way, crawl, file))
    width = max(len(row.way.title) for row in rows)
    click.echo(f"{'':{width}}  seconds  speed-up  pages  items  failed  sha256 of the output")
    for row in rows:
        click.echo(
            f"{row.way.title:{width}}  {row.seconds:7.2f}  {rows[0].seconds / row.seconds:7.1f}x"
            f"  {row.pages:5}  {row.items:5}  {row.failed:6}  {row.digest[:16]}"
        )
    same = len({row.digest for row in rows}) == 1
    click.echo(f"identical output: {'yes' if same else 'no'}")
    sys.exit(0 if same and not any(row.failed for row in rows) else 3 if same else 4)


@dataclass(frozen=True, slots=True)
class _Row:
    """What came of one way."""

    way: _Way
    seconds: float
    pages: int
    items: int
    failed: int
    digest: str


def _practice_site(
    spider: str, *, is_elsewhere: bool, options: dict[str, Any]
) -> PracticeSite | None:
    """One practice site for all ways, if the spider needs one: another would have other URLs."""
    from crawler.demo import start
    from crawler.errors import UsageError
    from crawler.loader import load_spider

    if not is_elsewhere and load_spider(spider).options.practice_site is not None:
        return start(**options)
    if options:
        given = " and ".join(f"--{option}" for option in options)
        raise UsageError(f"{given}: only for the practice site, which this crawl doesn't use")
    return None


def _timed(way: _Way, ready: AbstractContextManager[Crawl], file: Path) -> _Row:
    import hashlib

    with ready as crawl:
        started = time.perf_counter()
        with redirect_stdout(sys.stderr):
            stats = crawl.run().stats
    seconds = time.perf_counter() - started
    content = file.read_bytes() if file.exists() else b""
    digest = hashlib.sha256(content).hexdigest()
    return _Row(way, seconds, stats.pages, stats.items, stats.failed, digest)
