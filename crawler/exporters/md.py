"""A Markdown table (GitHub's): cells show the text as it is, whatever Markdown would make of it.

None is an empty cell, booleans are `true` and `false`, lists and dicts JSON text, line ends `<br>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

from crawler.exporters.table import Table, item_of, json_text

# Markdown reads `_` as a letter within a word, `~` after a slash and `&` as themselves unless a
# reference follows; so URLs stay whole. Each alternative begins with a character that is spelt out,
# or `re` would try all of them at each place: that takes three times as long.
_SPECIAL = re.compile(
    r"\\|`|\*|\[|\]|<|>|\||_(?<![^\W_]_)|_(?![^\W_])|~(?<!/~)|&(?=#?\w+;)|\r\n?|\n"
)


class MarkdownExporter(Table):
    """Items without any names are no table at all."""

    def open(self, stream: BinaryIO) -> None:
        """Write the header."""
        self._stream = stream
        if self.columns:
            self._add(map(_cell, self.columns))
            self._add("---" for _ in self.columns)

    def write(self, line: bytes) -> None:
        """Add one row."""
        if self.columns:
            self._add(map(_cell, map(item_of(line).get, self.columns)))

    def close(self) -> None:
        """There is nothing after the last row."""

    def _add(self, cells: Iterable[str]) -> None:
        self._stream.write(f"| {' | '.join(cells)} |\n".encode())


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json_text(value)
    return _SPECIAL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    # A function, because `re` takes 1 us to look up a template such as r"\\\g<0>".
    found = match[0]
    return "<br>" if found in ("\n", "\r", "\r\n") else f"\\{found}"
