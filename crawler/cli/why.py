"""`crawl why`: what became of a URL."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.flags import named, place

if TYPE_CHECKING:
    from crawler.history import History, Noted

_UNKNOWN = 4
_MAX_SHOWN = 10
"""Requests for the same URL."""
_MAX_PARENTS = 4
_MAX_ITEMS = 3

_LEFT_OUT = {
    "duplicate": "it had been asked for before",
    "scope": "its host is neither the start's nor one of allow_hosts",
    "end": "--pages until-empty ends here",
    "limit": "it lay behind the end of the crawl",
    "robots": "the site's robots.txt forbids it",
    "depth": "it lies deeper than max_depth",
    "allow": "it matches none of the patterns of allow",
    "deny": "it matches a pattern of deny",
}


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that is being asked."""

    facts: Mapping[str, Any]
    state: str
    history: History

    @property
    def folder(self) -> Path:
        folder: Path = self.facts["folder"]
        return folder

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be fetched by it."""
        return self.state == "finished"


@click.command(short_help="Say what became of a URL.")
@click.argument("url")
@click.option(
    "--run",
    "run",
    metavar="RUN",
    callback=named,
    help="Only in this one: a run's name, id or folder.",
)
@click.option(
    "--output-dir", callback=place, default="output", help="Where run folders are (output)."
)
@click.option("-v", "--verbose", count=True, help="Show the first items of its page.")
def why(url: str, run: str | None, output_dir: Path, verbose: int) -> None:
    """Say what became of URL in the latest run that knows it.

    Fetched, failed, left out or still queued; who linked to it, and what it gave. However the URL
    is written, and also by where it was redirected. Exits with 4 if no run knows it, and says which
    rule would have left it out.
    """
    from crawler.canonical import canonical_url
    from crawler.errors import UsageError
    from crawler.run_folder import runs_called
    from crawler.url import problem_with

    try:
        problem = problem_with(url) or (canonical_url(url) and None)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise UsageError(f"{url} is nothing that is crawled: {problem}")
    found = runs_called(run, output_dir)
    if not found:
        which = "" if run is None else f" {run}"
        raise UsageError(f"there is no run{which} in {output_dir}")
    if not any(_tell(facts, url, verbose) for facts in found):
        _tell_why_not(found, url)
        sys.exit(_UNKNOWN)


def _tell(facts: Mapping[str, Any], url: str, verbose: int) -> bool:
    """Say what became of the URL in that run; False if the run doesn't know it."""
    from crawler.cli.console import say
    from crawler.cli.runs import state_of
    from crawler.errors import UsageError
    from crawler.history import History
    from crawler.journal import JOURNAL

    try:
        with History.of(facts["folder"] / JOURNAL) as history:
            asked = _Run(facts, state_of(facts), history)
            found = history.find(url)
            # Beside the page itself, links to it that came too late say nothing.
            found = [page for page in found if page.rank is not None] or found
            for page in found[:_MAX_SHOWN]:
                _show(_about(asked, page, verbose))
            if len(found) > _MAX_SHOWN:
                _show([("", f"and {len(found) - _MAX_SHOWN} more requests for it")])
            if found:
                return True
            noted = list(_skipped(asked, url)) or list(_missed(asked, url))
            _show(noted)
            return bool(noted)
    except UsageError as error:
        say(f"not looked at: {error}")
        return False


def _show(lines: list[tuple[str, str]]) -> None:
    from crawler.escape import printable

    last = ""
    for label, text in lines:
        shown = "" if label == last else label
        click.echo(f"{shown:10}{printable(text)}".rstrip())
        last = label


def _about(run: _Run, page: Noted, verbose: int) -> list[tuple[str, str]]:
    lines = [("url", page.url), ("run", f"{run.facts['id']} ({run.facts['name']}, {run.state})")]
    lines += [("became", text) for text in _fate(run, page)]
    if page.final_url is not None:
        lines.append(("moved to", page.final_url))
    if page.rank is not None:
        lines.append(("rank", str(page.rank)))
    lines += _parents(run.history, page)
    if page.outcome == "ok":
        lines.append(("items", str(page.items)))
        lines += [("items", item) for item in _first_items(run, page)] if verbose else []
    return lines


def _fate(run: _Run, page: Noted) -> Iterator[str]:
    """What became of a request, the most important first."""
    from crawler.wording import plural

    if page.outcome is None:
        yield _queued(run, page)
        return
    if page.outcome == "ok":
        yield f"fetched on {_time(page.done_at)}"
    elif page.has_failed:
        yield f"failed on {_time(page.done_at)}: {page.outcome}{_message(run.folder, page.rank)}"
    else:
        yield f"left out: {_LEFT_OUT.get(page.outcome, page.outcome)} ({page.outcome})"
    if page.attempts:
        status = "" if page.status is None else f"status {page.status}, "
        by = "" if page.worker is None else f", by worker {page.worker + 1}"
        yield f"{status}{plural(page.attempts, 'attempt')}, {page.seconds or 0:.2f} s{by}"


def _queued(run: _Run, page: Noted) -> str:
    from crawler.wording import plural

    if run.is_over:
        return f"found, but not asked for: {_LEFT_OUT['limit']}"
    before = plural(run.history.number_before(page), "request")
    again = ", to be fetched again" if page.rank is not None else ""
    return f"queued{again}: {before} not done before it"


def _time(seconds: float | None) -> str:
    when = datetime.fromtimestamp(seconds or 0, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _parents(history: History, page: Noted) -> Iterator[tuple[str, str]]:
    """The pages between this one and the start; of many, the nearest and the first."""
    if page.is_start:
        yield "parent", "none: it is a start page"
        return
    chain = [f"rank {parent.rank}  {parent.url}" for parent in history.parents(page)]
    if len(chain) > _MAX_PARENTS:
        between = len(chain) - _MAX_PARENTS
        chain[_MAX_PARENTS - 1 : -1] = [f"... {between} more between them ..."]
    for line in chain:
        yield "parent", line


def _message(folder: Path, rank: int | None) -> str:
    """What failed.jsonl says of the page of that rank, in brackets."""
    for record in _records(folder / "failed.jsonl"):
        if record.get("rank") == rank and record.get("kind") != "pipeline":
            return f" ({record.get('message')})"
    return ""


def _records(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, those that are damaged excepted."""
    with suppress(OSError), file.open("rb") as stream:
        for line in stream:
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    yield record


def _first_items(run: _Run, page: Noted) -> Iterator[str]:
    if not run.facts.get("in_order", True) or page.rank is None or not page.items:
        return  # without an order, nobody knows which lines are whose
    first = run.history.number_of_items_before(page.rank)
    with (
        suppress(OSError),
        (run.folder / "items.jsonl").open(encoding="utf-8", errors="replace") as lines,
    ):
        shown = islice(lines, first, first + min(page.items, _MAX_ITEMS))
        yield from (line.rstrip("\n") for line in shown)
        if page.items > _MAX_ITEMS:
            yield "..."


def _skipped(run: _Run, url: str) -> Iterator[tuple[str, str]]:
    """What skipped.jsonl says of a link, if the run wrote one."""
    from crawler.canonical import canonical_url

    wanted = canonical_url(url)
    for record in _records(run.folder / "skipped.jsonl"):
        with suppress(ValueError, TypeError):
            if canonical_url(str(record["url"])) == wanted:
                reason = str(record["reason"])
                yield "url", str(record["url"])
                yield "run", f"{run.facts['id']} ({run.facts['name']}, {run.state})"
                yield "became", f"left out: {_LEFT_OUT.get(reason, reason)} ({reason})"
                yield "parent", f"rank {record.get('parent')}"
                return


def _missed(run: _Run, url: str) -> Iterator[tuple[str, str]]:
    """What failed.jsonl says of a file."""
    from crawler.canonical import canonical_url

    wanted = canonical_url(url)
    for record in _records(run.folder / "failed.jsonl"):
        with suppress(ValueError, TypeError, KeyError):
            if canonical_url(str(record["url"])) == wanted and "page" in record:
                yield "url", str(record["url"])
                yield "run", f"{run.facts['id']} ({run.facts['name']}, {run.state})"
                yield "became", f"a file that is missed: {record['kind']} ({record['message']})"
                yield "page", f"rank {record['rank']}  {record['page']}"
                return


# What no run knows.


def _tell_why_not(found: list[dict[str, Any]], url: str) -> None:
    """Say which rule of the latest run would leave the URL out, as far as can be told."""
    from crawler.cli.runs import state_of
    from crawler.errors import UsageError
    from crawler.history import History
    from crawler.journal import JOURNAL

    facts = found[0]
    several = f", and none of {len(found) - 1} before it" if len(found) > 1 else ""
    _show([("url", url), ("became", f"never seen by {facts['id']} ({facts['name']}){several}")])
    with suppress(UsageError), History.of(facts["folder"] / JOURNAL) as history:
        run = _Run(facts, state_of(facts), history)
        _show([("because", reason) for reason in _reasons(run, url)])


def _reasons(run: _Run, url: str) -> Iterator[str]:
    from crawler.scope import Scope
    from crawler.url import host

    settings = run.facts.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    names = ("allow_hosts", "allow", "deny")
    try:
        scope = Scope(**{name: _texts(settings.get(name)) for name in names})
    except re.error:
        return  # a pattern of another Python
    for start, final in run.history.start_urls():
        scope.add_start(host(start))
        if final is not None:
            scope.add_redirected(host(final))
    denied = scope.denies(url)
    if denied is not None:
        yield f"a link to it would be left out: {_LEFT_OUT[denied]} ({denied})"
    elif not scope.allows(url):
        yield f"a link to it would be left out: {_LEFT_OUT['scope']} (scope)"
    else:
        yield "no rule on URLs leaves it out: no page that was fetched linked to it"
        if settings.get("max_depth") is not None:
            yield f"or it was only linked to from pages {settings['max_depth']} links deep"
    if not run.is_over:
        yield f"the run is {run.state}, not finished: it may come to it yet"
    failed = run.history.number_failed()
    if failed:
        yield f"pages failed: {failed}; nobody knows where they link to"


def _texts(value: object) -> tuple[str, ...]:
    """A setting that run.json holds as the text of a tuple."""
    if isinstance(value, str):
        with suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()
