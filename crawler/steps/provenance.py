"""Where an item comes from, as fields of it."""

from __future__ import annotations

from collections.abc import Callable

from crawler.result import Item
from crawler.step import Page, Step

_FIELDS: dict[str, Callable[[Page], object]] = {
    "_url": lambda page: page.url,
    "_rank": lambda page: page.rank,
    "_fetched_at": lambda page: page.fetched_at.isoformat(timespec="seconds"),
}


def provenance(*fields: str) -> Step:
    """Add `_url`, `_rank` and `_fetched_at` (`2026-11-23T01:48:00+00:00`), or some of them.

    With `_fetched_at`, two crawls of one site differ.
    """
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(_FIELDS)}")
    wanted = fields or tuple(_FIELDS)

    def add(item: Item, page: Page) -> Item:
        return {**item, **{name: _FIELDS[name](page) for name in wanted}}

    return add
