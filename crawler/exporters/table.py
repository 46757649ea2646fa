"""What formats of rows and columns have in common: all items are looked at before one is written.

The columns are the names of all items, in the order in which they come up first. Cells hold text,
numbers, booleans or nothing; lists and dicts become JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crawler.lines import item_of
from crawler.result import Item

MAX_COLUMNS = 2_000
"""Items whose keys are data (`{"2026-11-23": 4}`) would make rows longer and longer. It is also
what SQLite can hold."""

# What a column holds; bits, so that a column of several kinds is their sum. None is 0.
BOOLEAN, INTEGER, LONG, HUGE, FLOAT, TEXT, NESTED = (1 << bit for bit in range(7))
"""LONG: integers that a float can't hold, HUGE: those that 64 bits can't hold."""

_KINDS = {type(None): 0, bool: BOOLEAN, float: FLOAT, str: TEXT, list: NESTED, dict: NESTED}


class Table:
    """A format of rows and columns; its exporters inherit from this."""

    def __init__(self) -> None:
        self.columns: dict[str, int] = {}
        """Each column's name and, in a `TypedTable`, what it holds."""

    def expect(self, names: Iterable[str]) -> None:
        """Columns that there are even if no item has them; before the first `survey`."""
        self.columns.update(dict.fromkeys(names, 0))

    def survey(self, line: bytes) -> None:
        """Look at an item; each of them is shown before `open`. Raises OSError at MAX_COLUMNS."""
        item = item_of(line)
        if not item.keys() <= self.columns.keys():
            for name in item:
                self.columns.setdefault(name, 0)
            _check(self.columns)


class TypedTable(Table):
    """One whose columns have types."""

    def survey(self, line: bytes) -> None:
        """Look at an item and at what its values are."""
        self.survey_item(item_of(line))

    def survey_item(self, item: Item) -> None:
        """The same, of an item that is read already."""
        columns = self.columns
        for name, value in item.items():
            kind = _whole(value) if value.__class__ is int else _KINDS[value.__class__]
            columns[name] = columns.get(name, 0) | kind
        _check(columns)


def _check(columns: dict[str, int]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise OSError(
            f"a table of over {MAX_COLUMNS:,} columns, one for each different key of an item; "
            "json, jsonl and xml can hold them"
        )


def _whole(value: Any) -> int:
    if -(2**53) <= value <= 2**53:
        return INTEGER
    return LONG if -(2**63) <= value < 2**63 else HUGE
