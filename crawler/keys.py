"""Keys and a number for each: exact, whatever their number, in bounded memory.

SQLite's own temporary database: it is in memory up to a limit, and then in a file without a name.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from crawler.errors import OutputError
from crawler.lines import sorted_text

_MEMORY = 64 * 2**20
"""Bytes; about a million keys."""


def digest_of(value: object) -> bytes:
    """16 bytes by which plain JSON values are the same or differ; `1` and `1.0` differ."""
    text = sorted_text(value).encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


class Keys:
    """A map of digests to numbers. Use it from one thread; raises OutputError on a full disk."""

    def __init__(self, memory: int = _MEMORY) -> None:
        with _errors():
            self._database = sqlite3.connect("", isolation_level=None)
            for setting in (f"cache_size = -{memory // 1024}", "journal_mode = OFF"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute(
                "CREATE TABLE keys (digest BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID"
            )
            self._database.execute("BEGIN")

    def add(self, digest: bytes) -> bool:
        """Note a key; True if it is new."""
        with _errors():
            done = self._database.execute("INSERT OR IGNORE INTO keys VALUES (?, 0)", (digest,))
            return done.rowcount == 1

    def put(self, digest: bytes, number: int) -> int | None:
        """Note a key's number in the place of the one that it had, which is returned."""
        with _errors():
            row = self._database.execute(
                "SELECT number FROM keys WHERE digest = ?", (digest,)
            ).fetchone()
            self._database.execute("INSERT OR REPLACE INTO keys VALUES (?, ?)", (digest, number))
        return None if row is None else int(row[0])

    def close(self) -> None:
        """Forget them."""
        self._database.close()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OutputError(f"can't write a temporary file for keys: {error}") from error
