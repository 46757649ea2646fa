"""A SQLite database with one table, `items`: a row an item, in order (`rowid`).

Columns are INTEGER, REAL or TEXT; one that holds several kinds has no type, so that SQLite
converts nothing. Booleans are 0 and 1; lists, dicts and integers beyond 64 bits are JSON text.
With a key, its column is the primary key; the items must not have one value there twice.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from crawler.exporters.table import BOOLEAN, FLOAT, HUGE, INTEGER, LONG, NESTED, TEXT, TypedTable
from crawler.lines import item_of, json_text

_BATCH = 1_000  # a third of the time of rows one by one
_AS_IT_IS = frozenset({str, float, bool, type(None)})


class SqliteExporter(TypedTable):
    """Made in a file without a name, for SQLite needs one of its own; then copied to the stream.

    Items without any names make no table, because SQLite has none without columns.
    """

    def __init__(self, *, key: str | None = None) -> None:
        super().__init__()
        self._key = key

    def open(self, stream: BinaryIO) -> None:
        """Make the table."""
        self._stream = stream
        self._rows: list[list[Any]] = []
        number, path = tempfile.mkstemp(prefix="crawl-", suffix=".sqlite")
        self._file = os.fdopen(number, "rb")
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._let_go = weakref.finalize(self, _close, self._database, self._file)
            with _errors():
                # Nobody else sees the file, and what is half done is thrown away.
                self._database.execute("PRAGMA journal_mode = OFF")
                self._database.execute("PRAGMA synchronous = OFF")
                self._database.execute("PRAGMA user_version = 1")  # so that the file is opened
                self._database.execute("BEGIN")
                if self.columns:
                    self._database.execute(f"CREATE TABLE items ({', '.join(self._declared())})")
        finally:
            os.unlink(path)  # also a kill leaves nothing behind
        marks = ", ".join("?" * len(self.columns))
        self._insert = f"INSERT INTO items VALUES ({marks})"  # noqa: S608  (question marks only)

    def _declared(self) -> Iterator[str]:
        taken = set()
        for name, kind in self.columns.items():
            name = unique = name.replace("\0", "\ufffd")
            number = 1
            while unique.lower() in taken:  # to SQLite, `a` and `A` are the same column
                number += 1
                unique = f"{name}_{number}"
            taken.add(unique.lower())
            quoted = unique.replace('"', '""')
            if name != self._key:
                yield f'"{quoted}" {_type(kind)}'
                continue
            # An INTEGER PRIMARY KEY would be the rowid, and so the order; INT is the same else.
            yield f'"{quoted}" {_type(kind).replace("INTEGER", "INT")} PRIMARY KEY'

    def write(self, line: bytes) -> None:
        """Add one row."""
        values = map(item_of(line).get, self.columns)
        self._rows.append([v if v.__class__ in _AS_IT_IS else _cell(v) for v in values])
        if len(self._rows) == _BATCH:
            self._flush()

    def close(self) -> None:
        """Copy the database to the stream."""
        self._flush()
        with _errors():
            self._database.execute("COMMIT")
            self._database.close()
        shutil.copyfileobj(self._file, self._stream)
        self._let_go()

    def _flush(self) -> None:
        if self.columns:
            with _errors():
                self._database.executemany(self._insert, self._rows)
        self._rows.clear()


def _type(kind: int) -> str:
    """The declared type of a column; SQLite converts what is put in to it, or keeps it if empty."""
    if kind & ~(BOOLEAN | INTEGER | LONG) == 0:
        return "INTEGER"
    if kind & ~(INTEGER | FLOAT) == 0:
        return "REAL"
    return "TEXT" if kind & ~(TEXT | NESTED | HUGE) == 0 else ""


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json_text(value)
    if value.__class__ is int and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _close(database: sqlite3.Connection, file: BinaryIO) -> None:
    database.close()
    file.close()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"SQLite: {error}") from error
