"""Of several items with one key, the last one: it stays in its place, the earlier ones go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crawler.keys import Keys, digest_of
from crawler.lines import item_of, json_text
from crawler.result import Item
from crawler.table_name import alike, table_of

Lines = Callable[[], Iterable[bytes]]
"""Items from the beginning, each a line of JSON; the same each time."""

log = logging.getLogger("crawler.output")


def last_of_each(lines: Lines, key: str | None, table: str | None = None) -> Lines:
    """The lines without those whose key comes again; without a `key`, the lines themselves.

    Items that lack the key, or have None there, all stay. With a field that names a `table`, each
    table has keys of its own. Reads all lines once, now, and remembers a bit of each.
    """
    if key is None:
        return lines
    is_last = bytearray()  # eight lines a byte
    keys = Keys()
    number, has_key = -1, False
    try:
        for number, line in enumerate(lines()):
            if number % 8 == 0:
                is_last.append(0xFF)
            item = item_of(line)
            value = _key_of(item, key)
            if value is None:
                continue
            has_key = True
            if table is not None:
                value = [alike(table_of(item, table)), value]
            earlier = keys.put(digest_of(value), number)
            if earlier is not None:
                is_last[earlier // 8] &= ~(1 << earlier % 8)
    finally:
        keys.close()
    if number >= 0 and not has_key:
        log.warning("no item has the field %s, so all of them stay", key)
    return lambda: _chosen(lines(), is_last)


def _chosen(lines: Iterable[bytes], is_last: bytearray) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if is_last[number // 8] >> number % 8 & 1:
            yield line


def _key_of(item: Item, key: str) -> object:
    """A value that is equal to another one where SQLite takes both for the same."""
    value: Any = item.get(key)
    if isinstance(value, (list, dict)):
        return json_text(value)
    if isinstance(value, bool) or (
        isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63
    ):
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value
