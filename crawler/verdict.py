"""What a finished crawl is worth: whether its result is published, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crawler.engine import Stats
    from crawler.settings import Settings

_REFUSED = frozenset({403, 429})


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
    failed = f"{stats.failed} of {stats.failed + stats.pages} pages failed"
    if stats.failed_items:
        failed += f", and {stats.failed_items} items"
    if stats.stopped_by and not is_finished:
        return Verdict(
            6, f"stopped after {stats.stopped_by}; nothing is published", is_published=False
        )
    if not is_finished:
        return Verdict(130, "interrupted; nothing is published", is_published=False)
    if stats.failed and not stats.pages:
        if stats.statuses and _REFUSED.issuperset(stats.statuses):
            return Verdict(7, f"blocked by the site: {failed}, with 403 or 429", is_published=False)
        return Verdict(3, f"{failed}; nothing is published", is_published=False)
    if stats.failed_items and not stats.items:
        return Verdict(3, f"{failed}; nothing is published", is_published=False)
    if stats.gave_up:
        return Verdict(3, f"gave up: {stats.gave_up}; nothing is published", is_published=False)
    if stats.items < settings.min_items:
        few = f"{stats.items} items, fewer than {settings.min_items}; nothing is published"
        return Verdict(4, few, is_published=False)
    if stats.failed + stats.failed_items > settings.max_failed:
        return Verdict(3, failed, is_published=True)
    return Verdict(0, None, is_published=True)
