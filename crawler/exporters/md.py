"""A Markdown table (GitHub's): cells show the text as it is, whatever Markdown would make of it.

None is an empty cell, booleans are `true` and `false`, lists and dicts JSON text, line ends `<br>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

from crawler.exporters.table import Table
from crawler.lines import item_of, json_text

# Markdown reads `_` as a letter within a word, `~` after a slash and `&` as themselves unless a
# reference follows; so URLs stay whole. Each alternative begins with a character that is spelt out,
# or `re` would try all of them at each place: that takes three times as long.
_SPECIAL = re.compile(
    r"\\|`|\*|\[|\]|<|>|\||_(?<![^\W_]_)|_(?![^\W_])|~(?<!/~)|&(?=#?\w+;)|\r\n?|\n"
)

_BETWEEN = "\ud800"


class MarkdownExporter(Table):
    """Items without any names are no table at all."""

    def open(self, stream: BinaryIO) -> None:
        """Write the header."""
        self._stream = stream
        if self.columns:
            self._add(self.columns)
            stream.write(f"|{' --- |' * len(self.columns)}\n".encode())

    def write(self, line: bytes) -> None:
        """Add one row."""
        if self.columns:
            self._add(map(_text, map(item_of(line).get, self.columns)))

    def close(self) -> None:
        """There is nothing after the last row."""

    def _add(self, cells: Iterable[str]) -> None:
        # All cells at once: that takes half of the time. Half a surrogate can't be in an item.
        row = _SPECIAL.sub(_escaped, _BETWEEN.join(cells)).replace(_BETWEEN, " | ")
        self._stream.write(f"| {row} |\n".encode())


def _text(value: object) -> str:
    if value.__class__ is str:
        return str(value)
    return "" if value is None else json_text(value)


def _escaped(match: re.Match[str]) -> str:
    # A function, because `re` takes 1 us to look up a template such as r"\\\g<0>".
    found = match[0]
    return "<br>" if found in ("\n", "\r", "\r\n") else f"\\{found}"
