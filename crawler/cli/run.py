"""`crawl run`: one crawl."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import click

from crawler.cli.flags import flag_layers, read_urls

if TYPE_CHECKING:
    from crawler.run import Crawl, CrawlResult

Progress = Literal["auto", "bar", "plain", "none"]


_EPILOG = """\b
Examples:
  crawl run posts --pages 4
  crawl run posts --pages until-empty --mode processes -o posts.jsonl
  crawl run mymodule:spyder --urls 'https://example.org/page/{1..4}/'

Ctrl-C once finishes what is in flight, twice ends at once; the old output stays. Exit codes:
0 done, 2 usage, 3 pages failed, 4 too few items, 5 already running, 7 blocked, 8 output not
written, 130 interrupted.
"""


@click.command(short_help="Run a spider.", epilog=_EPILOG)
@click.argument("spider", metavar="SPIDER")
@click.option("--pages", metavar="PAGES", help="4, 2-9, 1,3,5 or until-empty.")
@click.option(
    "--urls",
    multiple=True,
    metavar="FILE|-|URL",
    help="Start here: a file of URLs, - for stdin, or a pattern 'https://x/page/{0..3}/'.",
)
@click.option("--site", metavar="URL", help="Another place for the spider's site, e.g. a mirror.")
@click.option(
    "-a", "arguments", multiple=True, metavar="KEY=VALUE", help="A spider argument; repeatable."
)
@click.option("--mode", metavar="MODE", help="sequential, threads (default) or processes.")
@click.option("-j", "--workers", metavar="N", help="Threads or processes.")
@click.option("--concurrency", metavar="N", help="Requests in flight, over all workers (8).")
@click.option("--order", metavar="ORDER", help="input (default), or completion: as they come.")
@click.option("--delay", metavar="SECONDS", help="Between two requests to a host (0).")
@click.option("--per-host", metavar="N", help="Requests in flight to one host (8).")
@click.option(
    "--adaptive/--no-adaptive",
    default=None,
    help="Ask a host less while it is overloaded or down. Default: yes.",
)
@click.option("--timeout", metavar="SECONDS", help="For connecting, each wait and a body (30).")
@click.option("--page-timeout", metavar="SECONDS", help="For a page, spider included (180).")
@click.option("--retries", metavar="N", help="Further attempts after passing failures (2).")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE[:FORMAT]",
    help="Where items go, - for stdout; json or jsonl; repeatable. Default: output/NAME.json.",
)
@click.option("--output-dir", metavar="FOLDER", help="For NAME.json and run folders (output).")
@click.option("--name", metavar="NAME", help="Another name for the run, its folder and its output.")
@click.option("--max-pages", metavar="N", help="End after so many pages.")
@click.option("--max-items", metavar="N", help="End after so many items.")
@click.option("--max-depth", metavar="N", help="Follow links so far from a start page.")
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="HOST",
    help="Follow links to this host too, and below it; '*' is any. Default: the start's hosts.",
)
@click.option("--allow", multiple=True, metavar="REGEX", help="Follow only URLs that match.")
@click.option("--deny", multiple=True, metavar="REGEX", help="Don't follow URLs that match.")
@click.option("--max-failed", metavar="N", help="Exit with 3 if more pages failed (0).")
@click.option("--min-items", metavar="N", help="Publish nothing and exit with 4 below this (0).")
@click.option("--max-body", metavar="BYTES", help="Largest page, decompressed (33554432).")
@click.option("--keep-runs", metavar="N", help="Run folders to keep (10).")
@click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "plain", "none"]),
    default="auto",
    help="auto: a bar on a terminal, else a line every 10 seconds.",
)
@click.option("-v", "--verbose", count=True, help="Say more; -vv for everything.")
@click.option("-q", "--quiet", count=True, help="Only errors.")
def run(
    spider: str,
    urls: tuple[str, ...],
    site: str | None,
    arguments: tuple[str, ...],
    outputs: tuple[str, ...],
    output_dir: str | None,
    name: str | None,
    progress: Progress,
    verbose: int,
    quiet: int,
    **settings: str | bool | tuple[str, ...] | None,
) -> None:
    """Run a spider: NAME (from spiders/NAME.py), file.py[:function] or package.module:function.

    Items go to output/NAME.json in the order of the pages, whatever the mode. Messages and progress
    go to stderr.
    """
    from crawler.arguments import parse_argument
    from crawler.cli.console import log_to_stderr, say
    from crawler.loader import load_spider
    from crawler.run import OUTPUT_FOLDER, crawling

    log_to_stderr(verbose, quiet)
    folder = Path(output_dir) if output_dir else OUTPUT_FOLDER
    default = folder / f"{name or load_spider(spider).name}.json"
    with (
        _ended_at_once(),
        _broken_pipe_is_the_end(),
        redirect_stdout(sys.stderr),
        crawling(
            spider,
            urls=read_urls(urls),
            site=site,
            arguments=dict(map(parse_argument, arguments)),
            outputs=list(outputs) or [str(default)],
            output_folder=folder,
            name=name,
            flags=flag_layers(settings),
        ) as crawl,
    ):
        if crawl.notice and not quiet:
            say(crawl.notice)
        # Items and a bar on one terminal would overwrite each other.
        is_crowded = any(name.startswith("-") for name in outputs) and os.isatty(1)
        shown = "none" if quiet or is_crowded else progress
        with _display(crawl, shown), _signals(crawl) as received:
            result = crawl.run()
    if not quiet or result.exit_code:
        say(_summary(result, crawl.folder.path, list(outputs) or [str(default)]))
    is_interrupted = result.exit_code == 130 and received
    sys.exit(128 + received[0] if is_interrupted else result.exit_code)


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """After a second Ctrl-C, exit without waiting for threads that are still at work."""
    try:
        yield
    except KeyboardInterrupt as error:
        from crawler.cli.console import say

        say("ended at once; nothing is published")
        os._exit(128 + (error.args[0] if error.args else signal.SIGINT))


@contextmanager
def _broken_pipe_is_the_end() -> Iterator[None]:
    """Whoever read our stdout has enough: end as quietly as other commands in a pipe do."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes it once more at exit
        sys.exit(128 + signal.SIGPIPE)


@contextmanager
def _display(crawl: Crawl, progress: Progress) -> Iterator[None]:
    import pdb

    from crawler.cli.bar import display
    from crawler.cli.console import say

    with display(crawl.block, progress, stream=sys.stderr) as shown:
        hook = sys.breakpointhook

        def pause_and_debug(*args: Any, **kwargs: Any) -> Any:
            shown.pause()
            if crawl.settings.mode != "sequential":
                say("breakpoint() in several threads at once; --mode sequential is made for it")
            if sys.__stdout__ is not None:
                sys.stdout = sys.__stdout__
            if hook is not sys.__breakpointhook__ or "PYTHONBREAKPOINT" in os.environ:
                return hook(*args, **kwargs)
            # The standard hook would stop in the frame that called it: here.
            return pdb.Pdb().set_trace(sys._getframe(1))

        sys.breakpointhook = pause_and_debug
        try:
            yield
        finally:
            sys.breakpointhook = hook


@contextmanager
def _signals(crawl: Crawl) -> Iterator[list[int]]:
    """Once: finish what is in flight and end. Twice: end now. Yields the signals that came."""
    from crawler.cli.bar import plural
    from crawler.cli.console import say

    received: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt(received[0])
        crawl.stop()
        left = plural(crawl.engine.in_flight, "request")
        again = "; Ctrl-C again to end now" if number == signal.SIGINT else ""
        say(f"stopping: waiting for {left} in flight{again}")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and the shell's & ask for
            signal.signal(number, handle)  # to the end of the process: it is about to end
    yield received


def _summary(result: CrawlResult, folder: Path, outputs: list[str]) -> str:
    from crawler.cli.bar import plural
    from crawler.output import parse_target

    stats, verdict = result.stats, result.verdict
    pages = plural(stats.pages + stats.failed, "page")
    first = f"{pages}, {plural(stats.items, 'item')} in {stats.seconds:.2f} s"
    if stats.failed:
        first += f", {plural(stats.failed, 'page')} failed"
    if stats.failed_items:
        first += f", {plural(stats.failed_items, 'item')} failed"
    if stats.retries:
        first += f", {plural(stats.retries, 'retry', 'retries')}"
    lines = [first]
    if verdict.problem:
        lines.append(verdict.problem)
    if stats.failures:
        lines.append(f"more in {folder / 'failed.jsonl'}")
    elif verdict.problem:
        lines.append(f"more in {folder}")
    elif not stats.items:
        lines.append("nothing was found; with --min-items 1 the old output would be kept")
    if verdict.is_published:
        targets = map(parse_target, outputs)
        lines += [f"-> {target}" for target in targets if target.path is not None]
    return "\n".join(lines)
