"""What a run's journal tells about its requests. It is only read.

A crawl that is at work doesn't notice: in WAL mode readers and the writer don't wait for each
other. The files of one that was killed stay as they are, for whoever resumes it:

    journal.sqlite, -wal, -shm   at work, or killed: the index in -shm is read, never written
    journal.sqlite alone         ended: nobody writes, no lock and no further file is needed
    anything else                such as a folder copied without -shm: read from a copy of its own
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from crawler.errors import UsageError
from crawler.fingerprint import fingerprint
from crawler.journal import FIRST_FOLLOW_UP, check_header
from crawler.request import Request

LEFT_OUT = frozenset({"duplicate", "scope", "end", "limit", "robots", "depth", "allow", "deny"})
"""Outcomes of requests that were not to be made, or whose page doesn't count."""

_BESIDE = ("-wal", "-shm", "-journal")
_SECONDS_FOR_OTHERS = 10.0
_COLUMNS = (
    "place, rank, parent, depth, url, outcome, status, attempts, items, done_at, seconds, worker, "
    "final_url"
)
# Without an index, which the crawl would have to keep: a million rows take half a second.
_OF_URL = (
    f"SELECT {_COLUMNS} FROM requests "  # noqa: S608  (column names of ours)
    "WHERE fingerprint = :mark OR final_fingerprint = :mark OR url = :url OR final_url = :url "
    "ORDER BY place"
)
_BEFORE = f"SELECT {_COLUMNS} FROM requests WHERE place < ? ORDER BY place DESC"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Noted:
    """A request as it stands in the journal."""

    place: int
    rank: int | None
    parent: int | None
    """The rank of the page that linked here."""
    depth: int
    url: str
    outcome: str | None
    """`ok`, the kind of its failure, or why it was left out; None as long as it isn't done."""
    status: int | None
    attempts: int | None
    items: int | None
    done_at: float | None
    """Seconds since 1970."""
    seconds: float | None
    worker: int | None
    final_url: str | None
    """Where it was redirected."""

    @property
    def is_start(self) -> bool:
        """Whether it is a start request."""
        return self.place < FIRST_FOLLOW_UP

    @property
    def has_failed(self) -> bool:
        """Whether it was asked for in vain."""
        return self.outcome is not None and self.outcome != "ok" and self.outcome not in LEFT_OUT


class History:
    """The journal of a run, to be asked. Raises UsageError if it is none, or damaged."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    @contextmanager
    def of(cls, path: Path) -> Iterator[Self]:
        """What stands in the journal at `path`, as of its last checkpoint."""
        check_header(path)
        with _damage(path), _reading(path) as connection:
            yield cls(connection, path)

    def state(self) -> dict[str, Any]:
        """What the last checkpoint said; empty if there was none."""
        row = self._connection.execute("SELECT value FROM state WHERE name = 'state'").fetchone()
        try:
            state = {} if row is None else json.loads(row[0])
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self._path} is damaged ({error})") from None
        return state if isinstance(state, dict) else {}

    def find(self, url: str) -> list[Noted]:
        """All requests for that URL, however it is written, or that were redirected to it.

        Those by other methods than GET are found if the URL is written in the same way.
        """
        values = {"mark": fingerprint(Request(url)), "url": url}
        return [Noted(*row) for row in self._connection.execute(_OF_URL, values)]

    def parents(self, page: Noted) -> Iterator[Noted]:
        """The page that linked to it, the one that linked there, and so on up to the start."""
        # A page stands behind its parent, so one way through the journal is enough for all.
        wanted = page.parent
        if wanted is None:
            return
        for row in self._connection.execute(_BEFORE, (page.place,)):
            if row[1] == wanted:
                found = Noted(*row)
                yield found
                wanted = found.parent
                if wanted is None:
                    return

    def number_before(self, page: Noted) -> int:
        """How many requests that aren't done stand before this one in the queue."""
        return self.number_where("outcome IS NULL AND place < ?", page.place)

    def number_of_items_before(self, rank: int) -> int:
        """How many items the pages of lower ranks gave."""
        row = self._connection.execute("SELECT sum(items) FROM requests WHERE rank < ?", (rank,))
        return row.fetchone()[0] or 0

    def number_failed(self) -> int:
        """How many pages failed."""
        kept = ", ".join(f"'{outcome}'" for outcome in sorted({"ok", *LEFT_OUT}))
        return self.number_where(f"outcome IS NOT NULL AND outcome NOT IN ({kept})")

    def start_urls(self) -> Iterator[tuple[str, str | None]]:
        """URL and last URL of the start requests that are done."""
        query = "SELECT url, final_url FROM requests WHERE place < ?"
        yield from self._connection.execute(query, (FIRST_FOLLOW_UP,))

    def copy_to(self, path: Path) -> None:
        """Make a journal of its own at `path`, where no file is, with the same in it."""
        with closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def number_where(self, condition: str, *values: object) -> int:
        """How many requests there are of which the condition, in SQL, is true."""
        query = f"SELECT count(*) FROM requests WHERE {condition}"  # noqa: S608  (ours)
        count: int = self._connection.execute(query, values).fetchone()[0]
        return count


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{path} can't be read: {error}") from None


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    is_alone = not any(path.with_name(path.name + suffix).exists() for suffix in _BESIDE)
    how = "immutable=1" if is_alone else "readonly_shm=1"
    with closing(_connect(path, how)) as connection:
        try:
            connection.execute("SELECT count(*) FROM state").fetchone()
        except sqlite3.OperationalError:
            pass  # see below
        else:
            yield connection
            return
    with tempfile.TemporaryDirectory(prefix="crawl-") as folder:
        for suffix in ("", "-wal", "-journal"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                shutil.copyfile(file, Path(folder, file.name))
        with closing(sqlite3.connect(Path(folder, path.name))) as connection:
            yield connection


def _connect(path: Path, how: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&{how}"
    return sqlite3.connect(uri, uri=True, timeout=_SECONDS_FOR_OTHERS)
