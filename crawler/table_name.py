"""In which table of a database an item stands: `--table type` names it by the item's `type`."""

from __future__ import annotations

from crawler.result import Item

ITEMS = "items"
"""The table of items that name none."""


def table_of(item: Item, field: str | None) -> str:
    """The value of that field; `items` if it is no text, empty, or SQLite's own (`sqlite_...`)."""
    name = None if field is None else item.get(field)
    if not isinstance(name, str) or not name or name.lower().startswith("sqlite_"):
        return ITEMS
    return name.replace("\0", "\ufffd")


def alike(name: str) -> str:
    """The same text for names that SQLite takes for the same: `A` to `Z` are as `a` to `z`."""
    return name.encode().lower().decode()
