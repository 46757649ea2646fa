"""Flags that several commands share, and what they say as the rest of the program takes it."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_MAX_NAME = 255  # bytes, on nearly all file systems
_MAX_PATH = 4_095


def named(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """What names a file, a folder, a spider or a run; a callback of click's.

    None of them has an empty name: taken for a path, it would be the working directory. Raises
    UsageError.
    """
    from crawler.errors import UsageError

    if value is None:
        return None
    what = parameter.get_error_hint(context).strip("'[]")
    if not value:
        raise UsageError(f"{what}: an empty name names nothing")
    path = os.fsencode(value)
    longest = max(map(len, path.split(b"/")))
    if longest > _MAX_NAME:
        raise UsageError(f"{what}: a name of {longest:,} bytes; file systems take {_MAX_NAME}")
    if len(path) > _MAX_PATH:
        raise UsageError(f"{what}: a path of {len(path):,} bytes; systems take {_MAX_PATH:,}")
    return value


def place(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """The same as a path."""
    return Path(named(context, parameter, value) or "")


_SETTINGS = (
    click.option("--mode", metavar="MODE", help="sequential, threads (default), processes, async."),
    click.option("--fetcher", metavar="NAME", help="auto (default), requests or aiohttp."),
    click.option("-j", "--workers", metavar="N", help="Threads or processes."),
    click.option("--concurrency", metavar="N", help="Requests in flight, over all workers (8)."),
    click.option("--order", metavar="ORDER", help="input (default), or completion: as they come."),
    click.option("--delay", metavar="SECONDS", help="Between two requests to a host (0)."),
    click.option("--per-host", metavar="N", help="Requests in flight to one host (8)."),
    click.option(
        "--adaptive/--no-adaptive",
        default=None,
        help="Ask a host less while it is overloaded or down. Default: yes.",
    ),
    click.option("--timeout", metavar="SECONDS", help="For connecting, and for an answer (30)."),
    click.option("--page-timeout", metavar="SECONDS", help="For a page, spider included (180)."),
    click.option("--retries", metavar="N", help="Further attempts after passing failures (2)."),
    click.option(
        "--retry-statuses",
        metavar="N,N",
        help="Which statuses are tried again (408,425,429,500,502,503,504).",
    ),
    click.option(
        "--robots/--ignore-robots", default=None, help="Obey robots.txt, or don't. Default: obey."
    ),
    click.option("--cookies/--no-cookies", default=None, help="Keep cookies. Default: yes."),
    click.option("--max-pages", metavar="N", help="End after so many pages."),
    click.option("--max-items", metavar="N", help="End after so many items."),
    click.option("--max-depth", metavar="N", help="Follow links so far from a start page."),
    click.option("--max-seconds", metavar="SECONDS", help="Stop after so long, to be resumed."),
    click.option("--max-bytes", metavar="BYTES", help="Stop after so much, to be resumed."),
    click.option("--max-failures", metavar="N", help="Stop after so many, to be resumed."),
    click.option(
        "--allow-host",
        "allow_hosts",
        multiple=True,
        metavar="HOST",
        help="Follow links to this host too, and below it; '*' is any. Default: the start's hosts.",
    ),
    click.option("--allow", multiple=True, metavar="REGEX", help="Follow only URLs that match."),
    click.option("--deny", multiple=True, metavar="REGEX", help="Don't follow URLs that match."),
    click.option(
        "--keep-fragments", is_flag=True, default=None, help="What is behind # is another page."
    ),
    click.option(
        "--drop-parameter",
        "drop_parameters",
        multiple=True,
        metavar="NAME",
        help="Of the query, when URLs are compared; * for any characters; or tracking, session "
        "(default).",
    ),
    click.option(
        "--traps/--no-traps",
        default=None,
        help="Leave out links into endless sites, or don't. Default: leave out.",
    ),
    click.option(
        "--log-skipped", is_flag=True, default=None, help="List links not followed, with reasons."
    ),
    click.option("--max-failed", metavar="N", help="Exit with 3 if more pages failed (0)."),
    click.option(
        "--min-items", metavar="N", help="Publish nothing and exit with 4 below this (0)."
    ),
    click.option("--max-body", metavar="BYTES", help="Largest page, decompressed (33554432)."),
    click.option(
        "--file",
        "files",
        multiple=True,
        metavar="FIELD",
        help="Fetch the files whose URLs are in this field of items.",
    ),
    click.option(
        "--image", "images", multiple=True, metavar="FIELD", help="The same for pictures."
    ),
    click.option("--max-file", metavar="BYTES", help="Largest file (268435456)."),
    click.option(
        "--private-addresses",
        metavar="RULE",
        help="auto (default): links don't lead into private networks; or allow, or deny.",
    ),
    click.option(
        "--proxy",
        metavar="URL",
        help="All requests go through it: http://USER:PASSWORD@HOST:PORT; or none.",
    ),
    click.option(
        "--worker-memory",
        metavar="BYTES",
        help="For each worker process, beyond its own; 500M, 2G.",
    ),
    click.option(
        "--publish-every",
        metavar="TIME",
        help="Replace the outputs now and then by what is there so far: 5m, 90s, 2h.",
    ),
    click.option(
        "--step",
        "steps",
        multiple=True,
        metavar="STEP",
        help="For items, after the spider's own steps: dedupe('id'), module:function; repeatable.",
    ),
    click.option("--keep-runs", metavar="N", help="Run folders to keep (10)."),
)
_OUTPUT = (
    click.option(
        "--key",
        metavar="FIELD",
        help="Of items with one value there, outputs get the last; in SQLite the primary key.",
    ),
    click.option(
        "--table",
        metavar="FIELD",
        help="In SQLite, an item goes to the table that it names here; keys count within each.",
    ),
    click.option(
        "--csv-safe/--no-csv-safe",
        default=None,
        help="In CSV, put a ' before text that begins as a formula does. Default: no.",
    ),
    click.option(
        "--csv-bom/--no-csv-bom",
        default=None,
        help="Begin CSV with a byte order mark, for Excel. Default: no.",
    ),
)
_DISPLAY = (
    click.option(
        "--progress",
        type=click.Choice(["auto", "bar", "plain", "none"]),
        default="auto",
        help="auto: a bar on a terminal, else a line every 10 seconds.",
    ),
    click.option("-v", "--verbose", count=True, help="Say more; -vv for everything."),
    click.option("-q", "--quiet", count=True, help="Only errors."),
)


def setting_options(command: Command) -> Command:
    """The flags of a crawl's settings; `command` gets them as keyword arguments."""
    return _with((*_SETTINGS, *_OUTPUT), command)


def output_options(command: Command) -> Command:
    """Those of the settings that are about outputs."""
    return _with(_OUTPUT, command)


def display_options(command: Command) -> Command:
    """`--progress`, `-v` and `-q`."""
    return _with(_DISPLAY, command)


def _with(options: Iterable[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(list(options)):
        command = option(command)
    return command


def flag_layers(flags: Mapping[str, object]) -> list[tuple[str, dict[str, object]]]:
    """The flags that were given, each as a layer of settings of its own, to be named in errors."""
    return [
        (
            f"--{name.removesuffix('s') if isinstance(value, tuple) else name}".replace("_", "-"),
            {name: value},
        )
        for name, value in flags.items()
        if value not in (None, ())
    ]


_MAX_LISTED = 1_000_000


def read_urls(sources: tuple[str, ...]) -> list[str] | Iterator[str] | None:
    """What `--urls` names: files, patterns, or stdin; None when it wasn't given.

    A list where its length is worth knowing, else URLs as they come: stdin may be endless.
    """
    from crawler.pages import count_expanded

    if not sources:
        return None
    parts = [_urls_of(source) for source in sources]
    patterns = [source for source in sources if "://" in source]
    if "-" in sources or sum(map(count_expanded, patterns)) > _MAX_LISTED:
        return itertools.chain.from_iterable(parts)
    return [url for part in parts for url in part]


def _urls_of(source: str) -> Iterator[str]:
    from crawler.errors import UsageError
    from crawler.pages import expand, urls_in

    if source == "-":
        return urls_in(sys.stdin)
    try:
        if "://" in source:
            return expand(source)
        return urls_in(Path(source).read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise UsageError(
            f"--urls {source}: the file can't be read: {error.strerror or error} "
            "(a URL begins with http:// or https://)"
        ) from None
    except ValueError as error:
        raise UsageError(f"--urls {source}: {error}") from None
