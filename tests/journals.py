"""A journal for tests that don't look at its file."""

from __future__ import annotations

import sqlite3
import weakref

from crawler.journal import _SCHEMA, Journal


def journal_in_memory() -> Journal:
    """Nobody needs to close it: it ends with its last user, in whichever thread that is."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN")
    journal = Journal(connection, "the journal")
    weakref.finalize(journal, connection.close)
    return journal
