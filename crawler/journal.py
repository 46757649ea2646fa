"""What a crawl must not forget: its queue, what became of each request, how far its outputs are.

One SQLite file. All that happens between two checkpoints is one transaction, so the file shows the
crawl as it was at a checkpoint, whenever and however the program ends:

    checkpoint:  parts are fsynced  ->  their offsets, the pages done and the follow-ups found are
                 committed together (WAL, synchronous=FULL: it survives a power cut)
    resume:      parts are cut back to those offsets, and everything after is done again

Requests are plain JSON in it; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

from crawler.backlog import Backlog, FollowUp, Turn
from crawler.errors import LockedError, OutputError, UsageError
from crawler.request import Request

JOURNAL = "journal.sqlite"
"""Its name in a run's folder."""
VERSION = 1
"""Of the schema. A journal of another version is refused."""
APPLICATION_ID = 0x63494F31
FIRST_FOLLOW_UP = 2**40
"""Places: start requests have that of their rank, follow-ups count from here."""

_MAX_BUFFERED = 5_000
_SECONDS_FOR_OTHERS = 5.0
"""How long another program may hold the file."""

_SCHEMA = """
CREATE TABLE requests (
    place INTEGER PRIMARY KEY,   -- in the queue
    rank INTEGER,                -- once it is done
    parent INTEGER,              -- rank of the page that linked here
    depth INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    url TEXT NOT NULL,
    more TEXT,                   -- JSON of what else the request holds
    in_scope INTEGER NOT NULL,
    turn INTEGER NOT NULL,       -- minus the priority
    outcome TEXT,                -- 'ok', the kind of its failure, or why it was left out
    status INTEGER,
    attempts INTEGER,
    items INTEGER,
    done_at REAL,                -- seconds since 1970
    seconds REAL,                -- fetching and spider
    worker INTEGER,              -- number of the seat
    final_url TEXT,              -- where it was redirected
    final_fingerprint BLOB
);
CREATE INDEX by_turn ON requests (turn, place) WHERE turn != 0 AND outcome IS NULL;
CREATE TABLE attempts (fingerprint BLOB PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_ADD = (
    "INSERT INTO requests (place, parent, depth, fingerprint, url, more, in_scope, turn) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_DONE = (
    "UPDATE requests SET outcome = ?, rank = ?, status = ?, attempts = ?, items = ?, seconds = ?, "
    "worker = ?, final_url = ?, final_fingerprint = ?, done_at = ? WHERE place = ?"
)
# A query for each kind of priority: most crawls have only the usual one, which needs no index.
_URGENT = (
    "SELECT place, parent, depth, fingerprint, url, more, in_scope, rank FROM requests "
    "WHERE turn < 0 AND turn != 0 AND outcome IS NULL AND rank IS NULL AND (turn, place) > (?, ?) "
    "ORDER BY turn, place LIMIT ?"
)
_USUAL = (
    "SELECT place, parent, depth, fingerprint, url, more, in_scope, rank FROM requests "
    "WHERE turn = 0 AND outcome IS NULL AND rank IS NULL AND ? <= 0 AND place > ? "
    "ORDER BY place LIMIT ?"
)
_LAZY = (
    "SELECT place, parent, depth, fingerprint, url, more, in_scope, rank FROM requests "
    "WHERE turn > 0 AND turn != 0 AND outcome IS NULL AND rank IS NULL AND (turn, place) > (?, ?) "
    "ORDER BY turn, place LIMIT ?"
)
_PUT_BACK = (
    "SELECT place, parent, depth, fingerprint, url, more, in_scope, rank FROM requests "
    "WHERE outcome IS NULL AND rank IS NOT NULL ORDER BY rank"
)
_PLACED = (
    "SELECT items, rank IN (SELECT rank FROM again) OR rank > (SELECT max(rank) FROM again) "
    "FROM requests WHERE rank IS NOT NULL ORDER BY rank"
)
_STARTS = (
    "SELECT place, url, final_url FROM requests WHERE place > ? AND place < ? "
    "ORDER BY place LIMIT 1000"
)


class Outcome(NamedTuple):
    """What became of a request."""

    outcome: str
    """`ok`, the kind of its failure, or why it was left out."""
    rank: int | None = None
    status: int | None = None
    attempts: int = 0
    items: int = 0
    seconds: float = 0.0
    worker: int | None = None
    final_url: str | None = None
    final_fingerprint: bytes | None = None


class Journal:
    """The queue of follow-ups and the record of what is done; on disk at each checkpoint.

    Use it from one thread. Raises OutputError when it can't be written.
    """

    def __init__(
        self, connection: sqlite3.Connection, name: str, *, restored: bool = False
    ) -> None:
        self._connection = connection
        self._name = name
        self._urgent, self._usual, self._lazy = (
            Backlog(partial(self._read, query), restored=restored)
            for query in (_URGENT, _USUAL, _LAZY)
        )
        self._taken: set[int] = set()
        """Places of follow-ups that have a rank, but aren't done."""
        self._next_place = FIRST_FOLLOW_UP
        self._added: list[tuple[Any, ...]] = []
        self._done: list[tuple[Any, ...]] = []
        self._attempts: dict[bytes, int] = {}
        self.queued = 0
        """Follow-ups that wait for their rank."""

    @classmethod
    def create(cls, path: Path, *, durable: bool = True) -> Self:
        """A new journal; unless `durable`, it doesn't wait for the disk."""
        connection = _connect(path)
        with _errors(str(path)):
            # Where WAL doesn't work (some network file systems) SQLite stays with its old mode,
            # which is slower and as safe.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            # So that the file itself says what it is, before anything opens it as a database.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            connection.execute("BEGIN IMMEDIATE")
        return cls(connection, str(path))

    @classmethod
    def open(cls, path: Path) -> Self:
        """The journal of an earlier session.

        Raises UsageError if it is none, damaged, or of another version, and leaves it untouched;
        LockedError if another program holds it.
        """
        check_header(path)
        connection = _connect(path)
        try:
            _check_integrity(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            journal = cls(connection, str(path), restored=True)
            journal._find_queue()
        except sqlite3.DatabaseError as error:
            connection.close()
            if "locked" in str(error):
                raise LockedError(f"{path} is in use by another program ({error})") from None
            raise UsageError(
                f"{path} is damaged ({error}), so the run can't be resumed; nothing was changed"
            ) from None
        return journal

    # The queue.

    def add(self, follow_up: FollowUp) -> None:
        """Put a follow-up at the end of the queue; that is its place from now on."""
        request = follow_up.request
        place = follow_up.place = self._next_place
        self._next_place += 1
        self.queued += 1
        self._added.append(
            (
                place,
                follow_up.parent,
                follow_up.depth,
                follow_up.fingerprint,
                request.url,
                _more(request),
                follow_up.is_in_scope,
                -request.priority,
            )
        )
        self._backlog(request).add(follow_up)
        if len(self._added) >= _MAX_BUFFERED:
            self._write()

    def take(self) -> FollowUp | None:
        """The next follow-up; it stays in the journal until it is done."""
        follow_up = self._urgent.take() or self._usual.take() or self._lazy.take()
        if follow_up is not None:
            self.queued -= 1
            self._taken.add(follow_up.place)
        return follow_up

    def give_back(self, follow_up: FollowUp) -> None:
        """Put one that was taken back in its place."""
        self.queued += 1
        self._taken.discard(follow_up.place)
        self._backlog(follow_up.request).add(follow_up)

    def _backlog(self, request: Request) -> Backlog:
        if request.priority == 0:
            return self._usual
        return self._urgent if request.priority > 0 else self._lazy

    def _read(self, query: str, turn: Turn, count: int) -> list[FollowUp]:
        self._write()
        with _errors(self._name):
            # Those that were taken may still be behind others that came later.
            rows = self._connection.execute(query, (*turn, count + len(self._taken)))
            found = [_follow_up(row) for row in rows if row[0] not in self._taken]
        return found[:count]

    def _find_queue(self) -> None:
        last, self.queued = self._connection.execute(
            "SELECT max(place), sum(outcome IS NULL AND rank IS NULL AND place >= ?) FROM requests",
            (FIRST_FOLLOW_UP,),
        ).fetchone()
        self._next_place = max(FIRST_FOLLOW_UP, (last or 0) + 1)
        self.queued = self.queued or 0

    # What became of requests.

    def started(self, rank: int, request: Request, fingerprint: bytes) -> None:
        """Note a start request, once it is done."""
        row = (rank, None, 0, fingerprint, request.url, _more(request), True, -request.priority)
        self._added.append(row)

    def done(self, place: int, outcome: Outcome) -> None:
        """Note what became of the request at that place."""
        self._taken.discard(place)
        self._done.append((*outcome, time.time(), place))
        if len(self._done) >= _MAX_BUFFERED:
            self._write()

    def attempted(self, fingerprint: bytes, count: int) -> None:
        """Note how many attempts a request has behind it; 0 forgets it."""
        self._attempts[fingerprint] = count

    def checkpoint(self, state: dict[str, Any], cookies: list[Any] | None = None) -> None:
        """Bring everything up to now to the disk, together with `state`, plain JSON.

        `cookies`, of which there may be many, are kept as they were if they are None.
        """
        self._write()
        values = {"state": state, "cookies": cookies}
        rows = [(name, json.dumps(value)) for name, value in values.items() if value is not None]
        with _errors(self._name):
            self._connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")

    def _write(self) -> None:
        """Into the open transaction; on disk only with the next checkpoint."""
        with _errors(self._name):
            self._connection.executemany(_ADD, self._added)
            self._connection.executemany(_DONE, self._done)
            self._connection.executemany(
                "INSERT OR REPLACE INTO attempts VALUES (?, ?)", self._attempts.items()
            )
        self._added.clear()
        self._done.clear()
        self._attempts.clear()

    def close(self) -> None:
        """Let go of the file. What came after the last checkpoint is forgotten."""
        with suppress(sqlite3.Error):  # closed before, or broken
            self._connection.execute("ROLLBACK")
        self._connection.close()

    # What a resumed crawl asks.

    def state(self) -> dict[str, Any] | None:
        """What the last checkpoint said, None if there was none."""
        state = self._value("state")
        return None if state is None else dict(state)

    def cookies(self) -> list[Any]:
        """The cookies at the last checkpoint."""
        return self._value("cookies") or []

    def _value(self, name: str) -> Any:
        query = "SELECT value FROM state WHERE name = ?"
        row = self._connection.execute(query, (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def attempts(self) -> dict[bytes, int]:
        """Attempts of requests that aren't done, by fingerprint."""
        rows = self._connection.execute("SELECT fingerprint, count FROM attempts WHERE count > 0")
        return dict(rows.fetchall())

    def started_fingerprints(self) -> Iterator[bytes]:
        """Of the start requests that are done."""
        return self._column("SELECT fingerprint FROM requests WHERE place < ?", FIRST_FOLLOW_UP)

    def followed_fingerprints(self) -> Iterator[bytes]:
        """Of the follow-ups, queued or done, and of all that redirects led to."""
        yield from self._column(
            "SELECT fingerprint FROM requests WHERE place >= ?", FIRST_FOLLOW_UP
        )
        yield from self._column(
            "SELECT final_fingerprint FROM requests WHERE final_fingerprint IS NOT NULL"
        )

    def start_urls(self) -> Iterator[tuple[int, str, str | None]]:
        """Rank, URL and last URL of the start requests that are done, by rank."""
        # In pieces: whoever doesn't read to the end would leave a query open, and with it the file.
        rows = [(-1, "", None)]
        while rows:
            rows = self._connection.execute(_STARTS, (rows[-1][0], FIRST_FOLLOW_UP)).fetchall()
            yield from rows

    def ranks(self) -> Iterator[int]:
        """The ranks that are done, the lowest first."""
        return self._column("SELECT rank FROM requests WHERE rank IS NOT NULL ORDER BY rank")

    def put_back(self) -> Iterator[FollowUp]:
        """The requests that are to be fetched again, by rank (see `crawler.again`)."""
        return map(_follow_up, self._connection.execute(_PUT_BACK))

    def placed(self) -> Iterator[tuple[int, bool]]:
        """How many items each page gave, by rank, and whether that was since they were put back."""
        rows = self._connection.execute(_PLACED)
        return ((items or 0, bool(is_again)) for items, is_again in rows)

    def _column(self, query: str, *values: object) -> Iterator[Any]:
        return (row[0] for row in self._connection.execute(query, values))


def _connect(path: Path) -> sqlite3.Connection:
    with _errors(str(path)):
        return sqlite3.connect(path, timeout=_SECONDS_FOR_OTHERS, isolation_level=None)


def check_header(path: Path) -> None:
    """Refuse what is no journal of this version, without opening it (sqlite.org/fileformat2)."""
    try:
        with path.open("rb") as stream:
            header = stream.read(100)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror or error}") from None
    version = int.from_bytes(header[60:64])
    if not header.startswith(b"SQLite format 3\0") or (
        int.from_bytes(header[68:72]) != APPLICATION_ID
    ):
        raise UsageError(f"{path} is no journal of a crawl; it was left as it is")
    if version != VERSION:
        raise UsageError(
            f"{path} was written by another version of crawl-in-order (journal version {version}, "
            f"this one knows {VERSION}); resume with that one, or begin a new run"
        )


def _check_integrity(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OutputError(f"can't write {name}: {error}") from error


_MORE = [field.name for field in fields(Request) if field.name not in ("url", "history")]
_values = attrgetter(*_MORE)
_DEFAULTS = _values(Request(""))


def _more(request: Request) -> str | None:
    """All but the URL that isn't as usual, as JSON."""
    values = _values(request)
    if values == _DEFAULTS:
        return None
    more = {
        name: value
        for name, value, usual in zip(_MORE, values, _DEFAULTS, strict=True)
        if value != usual
    }
    if request.body is not None:
        more["body"] = request.body.decode("latin-1")
    return json.dumps(more)


def _follow_up(row: tuple[Any, ...]) -> FollowUp:
    place, parent, depth, fingerprint, url, more, in_scope, rank = row
    return FollowUp(_request(url, more), fingerprint, depth, bool(in_scope), parent, place, rank)


def _request(url: str, more: str | None) -> Request:
    if more is None:
        return Request(url)
    values = json.loads(more)
    if "body" in values:
        values["body"] = values["body"].encode("latin-1")
    return Request(url, **values)
