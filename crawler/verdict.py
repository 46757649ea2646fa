"""What a finished crawl is worth: whether its result is published, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crawler.wording import plural

if TYPE_CHECKING:
    from crawler.engine import Stats
    from crawler.settings import Settings

_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problem` says in words why the result can't be taken as it is; None if it can."""

    exit_code: int
    problem: str | None
    is_published: bool


def judge(stats: Stats, settings: Settings, *, is_finished: bool) -> Verdict:
    """The verdict on a crawl. The codes are those of docs/command-line.md.

    A crawl whose every page failed, or that found too few items, doesn't replace what an earlier
    one found.
    """
    nothing = "nothing is published"
    if settings.publish_every is not None:
        nothing = "nothing more is published"
    failed = f"{stats.failed} of {plural(stats.failed + stats.pages, 'page')} failed"
    if stats.failed_items:
        failed += f", and {plural(stats.failed_items, 'item')}"
    if stats.failed_files:
        failed += f", and {plural(stats.failed_files, 'file')}"
    is_blocked = bool(stats.failed) and not stats.pages and stats.failed == stats.refused
    if stats.blocked and not is_blocked:
        failed += f"; blocked or given up: {_hosts(stats)}"
    if stats.stopped_by and not is_finished:
        return Verdict(6, f"stopped after {stats.stopped_by}; {nothing}", is_published=False)
    if not is_finished:
        return Verdict(130, f"interrupted; {nothing}", is_published=False)
    if is_blocked:
        how = ", ".join(sorted(stats.failures))
        problem = f"blocked by the site {_hosts(stats)}: {failed} ({how})"
        return Verdict(7, problem, is_published=False)
    if stats.failed and not stats.pages:
        return Verdict(3, f"{failed}; {nothing}", is_published=False)
    if stats.failed_items and not stats.items:
        return Verdict(3, f"{failed}; {nothing}", is_published=False)
    if stats.gave_up:
        return Verdict(3, f"gave up: {stats.gave_up}; {nothing}", is_published=False)
    if stats.items < settings.min_items:
        few = f"{plural(stats.items, 'item')}, fewer than {settings.min_items}; {nothing}"
        return Verdict(4, few, is_published=False)
    if stats.failed + stats.failed_items + stats.failed_files > settings.max_failed:
        return Verdict(3, failed, is_published=True)
    return Verdict(0, None, is_published=True)


def _hosts(stats: Stats) -> str:
    """`a`, or `a, b, c and 4 more`: those with the most missing pages first."""
    hosts = sorted(stats.blocked, key=lambda host: stats.blocked[host], reverse=True)
    more = len(hosts) - _MAX_NAMED
    return ", ".join(hosts[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
