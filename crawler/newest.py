"""Of several items with one key, the last one: it stays in its place, the earlier ones go."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from crawler.keys import Keys, digest_of

Lines = Callable[[], Iterable[bytes]]
"""Items from the beginning, each a line of JSON; the same each time."""

log = logging.getLogger("crawler.output")

_decode = json.JSONDecoder().raw_decode


@contextmanager
def last_of_each(lines: Lines, key: str | None) -> Iterator[Lines]:
    """The lines without those whose key comes again; without a `key`, the lines themselves.

    Items that lack the key, or have None there, all stay. Reads all lines once before.
    """
    if key is None:
        yield lines
        return
    keys = Keys()
    number = -1
    has_key = False
    try:
        for number, line in enumerate(lines()):
            value = _key_of(line, key)
            if value is not None:
                has_key = True
                keys.put(digest_of(value), number)
        if number >= 0 and not has_key:
            log.warning("no item has the field %s, so all of them stay", key)
        yield lambda: _last(lines(), key, keys)
    finally:
        keys.close()


def _last(lines: Iterable[bytes], key: str, keys: Keys) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        value = _key_of(line, key)
        if value is None or keys.number(digest_of(value)) == number:
            yield line


def _key_of(line: bytes, key: str) -> object:
    """A value that is equal to another one where SQLite takes both for the same."""
    value: Any = _decode(line.decode())[0].get(key)
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool) or (
        isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63
    ):
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value
