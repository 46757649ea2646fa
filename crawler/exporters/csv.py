"""Comma-separated values, UTF-8, as RFC 4180 has them: a header, lines that end with CR LF.

None is an empty cell, booleans are `true` and `false`, lists and dicts JSON text.
"""

from __future__ import annotations

import csv
from codecs import BOM_UTF8
from typing import BinaryIO

from crawler.exporters.table import Table
from crawler.lines import item_of, json_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_AS_IT_IS = frozenset({str, int, float, type(None)})  # written as in JSON, None as nothing


class CsvExporter(Table):
    """With `safe`, no text begins as a formula does; with `bom`, Excel sees that it is UTF-8."""

    def __init__(self, *, safe: bool = False, bom: bool = False) -> None:
        super().__init__()
        self._safe = safe
        self._bom = bom

    def open(self, stream: BinaryIO) -> None:
        """Write the header; items without any names are no lines at all."""
        # \r\n, because Python 3.11 doesn't quote a \r that is no part of the line end.
        self._add = csv.writer(_Utf8(stream), lineterminator="\r\n").writerow
        if self._bom:
            stream.write(BOM_UTF8)
        if self.columns:
            self._add([_guarded(name) if self._safe else name for name in self.columns])

    def write(self, line: bytes) -> None:
        """Add one row."""
        values = map(item_of(line).get, self.columns)
        cells = [v if v.__class__ in _AS_IT_IS else json_text(v) for v in values]
        if self._safe:
            cells = list(map(_guarded, cells))
        if cells:
            self._add(cells)

    def close(self) -> None:
        """There is nothing after the last row."""


def _guarded(cell: object) -> object:
    """Text that a spreadsheet would take for a formula gets a `'`; numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


class _Utf8:
    """A text stream over a binary one, which it leaves open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._write = stream.write

    def write(self, text: str) -> int:
        return self._write(text.encode())
