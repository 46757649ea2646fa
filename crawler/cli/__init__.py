"""The command `crawl`. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import os
import signal
import sys

import click

from crawler.cli.compare import compare
from crawler.cli.demo import demo
from crawler.cli.export import export
from crawler.cli.resume import resume
from crawler.cli.retry import retry
from crawler.cli.run import run
from crawler.cli.runs import runs
from crawler.cli.spiders import list_command
from crawler.cli.thumbs import thumbs
from crawler.cli.watch import watch
from crawler.cli.why import why
from crawler.errors import CrawlError
from crawler.process import collect_garbage_less_often
from crawler.version import __version__

_CRAWLS = ("run", "resume", "retry")
"""Commands that take signals for themselves, and collect garbage, once their spider is loaded."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crawl-in-order")
@click.pass_context
def crawl(context: click.Context) -> None:
    """Crawl with plain Python functions: out-of-order execution, in-order commit."""
    is_crawl = context.invoked_subcommand in _CRAWLS
    if not is_crawl:  # those do it when all is loaded
        collect_garbage_less_often()
    is_default = signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    if is_default and not is_crawl:
        signal.signal(signal.SIGINT, signal.default_int_handler)


for command in (run, resume, retry, runs, why, export, list_command, compare, watch, demo, thumbs):
    crawl.add_command(command)


def _open_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed, before another file takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def main() -> None:
    """Run the command line and exit with one of the codes of docs/command-line.md."""
    _open_standard_streams()
    try:
        crawl.main(prog_name="crawl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except CrawlError as error:
        from crawler.cli.console import complain

        complain(error)
        sys.exit(error.exit_code)
