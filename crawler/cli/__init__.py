"""The command `crawl`. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from crawler.cli.compare import compare
from crawler.cli.demo import demo
from crawler.cli.export import export
from crawler.cli.resume import resume
from crawler.cli.retry import retry
from crawler.cli.run import run
from crawler.cli.runs import runs
from crawler.cli.session import broken_pipe_is_the_end, let_go_of_stdout
from crawler.cli.spiders import list_command
from crawler.cli.thumbs import thumbs
from crawler.cli.watch import watch
from crawler.cli.why import why
from crawler.errors import CrawlError, OutputError
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


class _Stdout(io.FileIO):
    """Tells an error of its own from those of other files."""

    def write(self, data: Any) -> int:
        """Raises OutputError, or BrokenPipeError where nobody reads any more."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            let_go_of_stdout()
            raise OutputError(f"can't write stdout: {error.strerror or error}") from error


@contextmanager
def _stdout_is_written() -> Iterator[None]:
    """What is written to stdout meanwhile has come through, or the error is raised here."""
    plain = sys.__stdout__
    if plain is not None and sys.stdout is plain:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(1, "w", closefd=False)),
            encoding=plain.encoding,
            errors=plain.errors,
            line_buffering=plain.line_buffering,
        )
    with broken_pipe_is_the_end():
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()


def main() -> None:
    """Run the command line and exit with one of the codes of docs/command-line.md."""
    _open_standard_streams()
    try:
        with _stdout_is_written():
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
