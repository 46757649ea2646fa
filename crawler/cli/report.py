"""What is said at the end of a crawl: in short what came of it, and more if there is more to say.

40 pages, 912 items in 61.20 s, 3 pages failed, 6 retries
3 of 40 pages failed; blocked or given up: b.example
failed: 2 x status 403, 1 x timeout; tried again: 5 x status 503, 1 x timeout
4.1 MB; links not followed: 210 duplicate, 14 scope
time: 87 % delay, 12 % fetching
87 % of the time waited for the delay between requests to a host: more workers would not help
more in output/runs/posts/20261123T014800Z-1a2b3c4d/failed.jsonl
-> output/posts.json
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.advice import advise, percent
from crawler.escape import printable
from crawler.wording import plural, size

if TYPE_CHECKING:
    from crawler.engine import Stats
    from crawler.run import CrawlResult

_LONG = 2.0
"""Seconds from which on it is worth saying where the time went."""
_WORTH_NAMING = 0.05
_MAX_NAMED = 5

_DOING = {
    "fetch": "fetching",
    "spider": "in spiders",
    "delay": "delay",
    "per_host": "limit per host",
    "backoff": "back-off",
    "order": "waiting for a slow page",
    "retry": "waiting to try again",
    "empty": "no page known",
    "stop": "stopping",
    "commit": "steps and outputs",
    "start": "start",
    "other": "between engine and workers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a report tells of a crawl besides what came of it."""

    how_to_resume: str
    folder: Path
    files: list[str]
    """Outputs other than stdout."""
    mode: str


def report(result: CrawlResult, about: About, *, is_short: bool = False) -> list[str]:
    """The lines, fit for a terminal. `is_short`: only what came of it."""
    stats, verdict = result.stats, result.verdict
    lines = [_first(stats)]
    if verdict.problem:
        lines.append(verdict.problem)
    if not is_short:
        lines += _details(stats, about.mode)
    if verdict.exit_code in (6, 130):
        lines.append(about.how_to_resume)
    if stats.failures:
        lines.append(f"more in {about.folder / 'failed.jsonl'}")
    elif verdict.problem:
        lines.append(f"more in {about.folder}")
    elif not stats.items:
        lines.append(f"{_why_empty(stats)}; with --min-items 1 the old output would be kept")
    if verdict.is_published:
        lines += [f"-> {file}" for file in about.files]
    return list(map(printable, lines))


def _first(stats: Stats) -> str:
    pages = plural(stats.pages + stats.failed, "page")
    line = f"{pages}, {plural(stats.items, 'item')}{_files(stats)} in {stats.seconds:.2f} s"
    if stats.dropped:
        line += f", {plural(stats.dropped, 'item')} dropped by steps"
    if stats.failed:
        line += f", {plural(stats.failed, 'page')} failed"
    if stats.failed_items:
        line += f", {plural(stats.failed_items, 'item')} failed"
    if stats.failed_files:
        line += f", {plural(stats.failed_files, 'file')} missing"
    if stats.retries:
        line += f", {plural(stats.retries, 'retry', 'retries')}"
    return line


def _why_empty(stats: Stats) -> str:
    """Of a crawl without items: whether none were found, or none came through the steps."""
    if not stats.dropped:
        return "nothing was found"
    return f"the steps dropped all that was found ({plural(stats.dropped, 'item')})"


def _files(stats: Stats) -> str:
    if not stats.files:
        return ""
    unchanged = f", {stats.unchanged_files:,} unchanged" if stats.unchanged_files else ""
    return f", {plural(stats.files, 'file')} ({size(stats.file_bytes)}{unchanged})"


def _details(stats: Stats, mode: str) -> Iterator[str]:
    """Why pages failed; of a long crawl also what else it did, and where the time went.

    Which links weren't followed is told of a short one too, if it found nothing: there may be why.
    """
    is_long = stats.seconds >= _LONG
    parts = []
    if stats.failures:
        parts.append(f"failed: {_counts(stats.failures, ' x')}")
    if stats.retried:
        parts.append(f"tried again: {_counts(stats.retried, ' x')}")
    if parts:
        yield "; ".join(parts)
    parts = []
    if is_long:
        parts.append(size(stats.body_bytes))
    if stats.worker_deaths:
        parts.append(f"{plural(stats.worker_deaths, 'worker')} died")
    if stats.skipped and (is_long or not stats.items + stats.dropped):
        parts.append(f"links not followed: {_counts(stats.skipped)}")
    if parts:
        yield "; ".join(parts)
    shares = [
        f"{percent(share)} {_DOING.get(reason, reason)}"
        for reason, share in stats.time.items()
        if share >= _WORTH_NAMING
    ]
    if is_long and shares:
        yield f"time: {', '.join(shares)}"
    advice = advise(
        stats.time,
        seconds=stats.seconds,
        cpu_seconds=stats.cpu_seconds,
        spider_seconds=stats.spider_seconds,
        soup_seconds=stats.soup_seconds,
        mode=mode,
        cores=_cores(),
    )
    if advice is not None:
        yield advice


def _counts(counts: Mapping[str, int], times: str = "") -> str:
    """`5 x timeout, 2 x status 404`: the most frequent ones, and how many others there are."""
    pairs = sorted(counts.items(), key=lambda pair: pair[1], reverse=True)
    named = [f"{count:,}{times} {what}" for what, count in pairs[:_MAX_NAMED]]
    others = sum(count for _, count in pairs[_MAX_NAMED:])
    return ", ".join([*named, f"{others:,} others"] if others else named)


def _cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
