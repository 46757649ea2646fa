"""A SQLite database with one table, `items`: a row an item, in order (`rowid`).

Or with several, each with columns of its own: then a field of the items names their tables.

Columns are INTEGER, REAL or TEXT; one that holds several kinds has no type, so that SQLite
converts nothing. Booleans are 0 and 1; lists, dicts and integers beyond 64 bits are JSON text.
With a key, its column is the primary key; the items of a table must not have one value there
twice.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, BinaryIO

from crawler.exporters.table import (
    BOOLEAN,
    FLOAT,
    HUGE,
    INTEGER,
    LONG,
    NESTED,
    TEXT,
    Table,
    TypedTable,
)
from crawler.lines import item_of, json_text
from crawler.result import Item
from crawler.table_name import ITEMS, alike, table_of

log = logging.getLogger("crawler.output")

MAX_TABLES = 500
"""A field of texts instead of kinds would make a table for each item."""
_BATCH = 1_000  # a third of the time of rows one by one;
_BATCH_BYTES = 1024 * 1024  # of the lines of items that are large
_AS_IT_IS = frozenset({str, float, bool, type(None)})


class SqliteExporter(Table):
    """Made in a file without a name, for SQLite needs one of its own; then copied to the stream.

    Items without any names make no table, because SQLite has none without columns.
    """

    def __init__(self, *, key: str | None = None, table: str | None = None) -> None:
        super().__init__()
        self._key = key
        self._field = table
        self._tables: dict[str, _Rows] = {}
        self._spelt: dict[str, _Rows] = {}
        """By each way in which their names were written; asked for with each item."""
        self._waiting = self._size = 0
        self._is_named = table is None

    def survey(self, line: bytes) -> None:
        """Look at an item, for its table. Raises OSError at MAX_TABLES too."""
        item = item_of(line)
        self._table_of(item).survey_item(item)
        if not self._is_named:
            self._is_named = isinstance(item.get(str(self._field)), str)

    def open(self, stream: BinaryIO) -> None:
        """Make the tables."""
        self._stream = stream
        if self._tables and not self._is_named:
            log.warning("no item has text in %s, so all are in the table items", self._field)
        if not self._tables:
            self._table_of({}).expect(self.columns)
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
                for table in self._tables.values():
                    table.create(self._database)
        finally:
            os.unlink(path)  # also a kill leaves nothing behind

    def write(self, line: bytes) -> None:
        """Add one row."""
        item = item_of(line)
        self._table_of(item).add(item)
        self._waiting += 1
        self._size += len(line)
        if self._waiting == _BATCH or self._size >= _BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        """Copy the database to the stream."""
        self._flush()
        with _errors():
            self._database.execute("COMMIT")
            self._database.close()
        shutil.copyfileobj(self._file, self._stream)
        self._let_go()

    def _table_of(self, item: Item) -> _Rows:
        name = ITEMS if self._field is None else table_of(item, self._field)
        found = self._spelt.get(name)
        if found is None:
            found = self._spelt[name] = self._table(name)
        return found

    def _table(self, name: str) -> _Rows:
        found = self._tables.get(alike(name))
        if found is None:
            if len(self._tables) == MAX_TABLES:
                raise OSError(
                    f"a database of over {MAX_TABLES} tables, one for each different "
                    f"{self._field}; --table takes a field of few values"
                )
            found = self._tables[alike(name)] = _Rows(name, self._key)
        return found

    def _flush(self) -> None:
        with _errors():
            for table in self._tables.values():
                table.flush(self._database)
        self._waiting = self._size = 0


class _Rows(TypedTable):
    """One table, and rows that are not in it yet."""

    def __init__(self, name: str, key: str | None) -> None:
        super().__init__()
        self._name = _quoted(name)
        self._key = key
        self._rows: list[list[Any]] = []

    def create(self, database: sqlite3.Connection) -> None:
        """Make it, if there are columns."""
        if self.columns:
            database.execute(f"CREATE TABLE {self._name} ({', '.join(self._declared())})")
        marks = ", ".join("?" * len(self.columns))
        self._insert = f"INSERT INTO {self._name} VALUES ({marks})"  # noqa: S608  (it is quoted)

    def add(self, item: Item) -> None:
        """Keep a row for `flush`."""
        values = map(item.get, self.columns)
        self._rows.append([v if v.__class__ in _AS_IT_IS else _cell(v) for v in values])

    def flush(self, database: sqlite3.Connection) -> None:
        """Write the rows that were kept."""
        if self.columns and self._rows:
            database.executemany(self._insert, self._rows)
        self._rows.clear()

    def _declared(self) -> Iterator[str]:
        for (name, kind), unique in zip(self.columns.items(), _unlike(self.columns), strict=True):
            if name != self._key:
                yield f"{_quoted(unique)} {_type(kind)}"
                continue
            # An INTEGER PRIMARY KEY would be the rowid, and so the order; INT is the same else.
            yield f"{_quoted(unique)} {_type(kind).replace('INTEGER', 'INT')} PRIMARY KEY"


def _unlike(names: Iterable[str]) -> Iterator[str]:
    """Names that SQLite can tell apart: one that is like an earlier one gets a number.

    What becomes of it is like none of the others.
    """
    names = [name.replace("\0", "\ufffd") for name in names]
    free = set(map(alike, names))
    taken = free.copy()
    for name in names:
        if alike(name) in free:
            free.remove(alike(name))
            yield name
            continue
        numbered = (f"{name}_{number}" for number in count(2))
        unique = next(each for each in numbered if alike(each) not in taken)
        taken.add(alike(unique))
        yield unique


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
