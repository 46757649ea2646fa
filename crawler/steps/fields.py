"""Which fields an item has, what they are called, and in what order they stand."""

from __future__ import annotations

from collections.abc import Mapping

from crawler.result import Item
from crawler.step import Step

_EMPTY: tuple[object, ...] = (None, "", [], {})


def require(*fields: str, drop: bool = False) -> Step:
    """Fail an item that lacks one of the fields, or drop it: not there, None, "", [] or {}."""
    _check(fields, "require('title', 'url')")

    def check(item: Item) -> Item | None:
        missing = [name for name in fields if item.get(name) in _EMPTY]
        if missing and not drop:
            raise ValueError(f"the item has no {' and no '.join(missing)}")
        return None if missing else item

    return check


def select(*fields: str) -> Step:
    """Only these fields, in this order; one that is missing stays so."""
    _check(fields, "select('title', 'url')")

    def choose(item: Item) -> Item:
        return {name: item[name] for name in fields if name in item}

    return choose


def rename(names: Mapping[str, str] | None = None, /, **more: str) -> Step:
    """Give fields other names in their places: `rename(old='new')`, `rename({'an old': 'new'})`.

    It fails an item that has a field of the new name already.
    """
    new = {**(names or {}), **more}
    _check((*new, *new.values()), "rename(old='new')")

    def change(item: Item) -> Item:
        changed = {new.get(name, name): value for name, value in item.items()}
        if len(changed) < len(item):
            taken = [f"{old} -> {now}" for old, now in new.items() if old in item and now in item]
            raise ValueError(f"the item has two fields of one name then: {', '.join(taken)}")
        return changed

    return change


def _check(fields: tuple[object, ...], example: str) -> None:
    if not fields or not all(isinstance(name, str) and name for name in fields):
        raise ValueError(f"name fields, as text: {example}")
