"""The folder of a spider's files: what is in it, where from, and whether it must be fetched again.

    output/NAME/files/
      photo-3f2a9c0d11e5b7aa.jpg          a file; see crawler.file_name
      thumbs/small/photo-3f2a9c0d11e5b7aa.jpg
      .parts/<SHA-256>                    stored by a worker; its page isn't committed yet
      .index.sqlite                       URLs, contents and thumbnails

All runs of a name share it, one at a time. A content is stored once, under the name of the first
URL that it was committed for. Nothing is removed but parts that no page was committed for.

The index is no second journal: it is written just before each checkpoint, so it may know more than
the journal does, and what it says counts only as long as the file is there, in its full length. So
after a crash at worst some files are fetched again; a name is given once and stays.
"""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from crawler.download import StoredFile
from crawler.errors import LockedError, OutputError
from crawler.file_name import file_name
from crawler.file_type import SUFFIXES, UNKNOWN
from crawler.publish import sync_folder
from crawler.thumbnail_rule import ThumbnailRule

INDEX = ".index.sqlite"
PARTS = ".parts"
THUMBNAILS = "thumbs"
_APPLICATION_ID = 0x63494F46
_VERSION = 1
_SECONDS_FOR_OTHERS = 1.0

_SCHEMA = """
CREATE TABLE urls (
    key BLOB PRIMARY KEY,       -- of what is wanted: see crawler.download
    url TEXT NOT NULL,
    final_url TEXT NOT NULL,    -- after redirects
    sha256 TEXT NOT NULL,
    content_type TEXT NOT NULL,
    width INTEGER,
    height INTEGER,
    etag TEXT,
    last_modified TEXT,
    run TEXT NOT NULL,          -- which looked last
    is_unchanged INTEGER NOT NULL,
    looked_at REAL NOT NULL,    -- seconds since 1970
    is_taken INTEGER NOT NULL   -- whether a page of that run was committed that has it
) WITHOUT ROWID;
CREATE TABLE contents (
    sha256 TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    name TEXT UNIQUE            -- once a page was committed that has it
) WITHOUT ROWID;
CREATE TABLE thumbnails (
    sha256 TEXT NOT NULL,
    name TEXT NOT NULL,
    rule TEXT NOT NULL,
    suffix TEXT NOT NULL,
    PRIMARY KEY (sha256, name)
) WITHOUT ROWID;
"""
_KNOWN = (
    "SELECT sha256, size, content_type, width, height, etag, last_modified, final_url, run, "
    "is_taken, name FROM urls JOIN contents USING (sha256) WHERE key = ?"
)
_COMMITTED = (
    "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(is_unchanged), 0) "
    "FROM urls JOIN contents USING (sha256) WHERE run = ? AND is_taken"
)


class Known(NamedTuple):
    """What is stored for a URL."""

    file: StoredFile
    """`thumbnails` are those that are there and as they should be."""
    path: Path
    is_fresh: bool
    """Whether this run has looked, and nothing is missing."""


class FileStore:
    """Files by what they are wanted as. Use it from one thread.

    `prefix` stands before names in items. `thumbnails` are those that pictures should have. A run
    that is `resumed` finds what its earlier sessions stored. The folder is made, and locked, when
    it is first asked for. Raises OutputError when it can't be written, LockedError when another run
    has it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        prefix: str,
        run: str,
        thumbnails: Mapping[str, ThumbnailRule] | None = None,
        resumed: bool = False,
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._run = run
        self._rules = {name: _written(rule) for name, rule in (thumbnails or {}).items()}
        self._resumed = resumed
        self._connection: sqlite3.Connection | None = None
        self._touched: set[Path] = set()
        """Folders with new names, to be brought to the disk."""

    @property
    def parts(self) -> Path:
        """Where workers store."""
        return self._folder / PARTS

    def open(self) -> None:
        """Make the folder, and lock it; done by itself when it is needed."""
        self._index()

    def known(self, key: bytes, *, is_image: bool) -> Known | None:
        """What is stored for that key, and still there."""
        row = self._row(_KNOWN, key)
        if row is None:
            return None
        sha256, size, kind, width, height, etag, modified, final_url, run, _, name = row
        path = self._folder / name if name is not None else self.parts / sha256
        if not _is_file(path, size):
            return None
        thumbnails = dict(self._thumbnails(sha256, name)) if is_image else {}
        file = StoredFile(sha256, size, kind, width, height, thumbnails, etag, modified, final_url)
        is_whole = not is_image or thumbnails.keys() == self._rules.keys()
        return Known(file, path, is_fresh=run == self._run and is_whole)

    def _thumbnails(self, sha256: str, name: str | None) -> Iterator[tuple[str, str]]:
        """Name and suffix of those that are there and made by today's rules."""
        query = "SELECT name, rule, suffix FROM thumbnails WHERE sha256 = ?"
        for thumbnail, rule, suffix in self._index().execute(query, (sha256,)).fetchall():
            named = None if name is None else self._thumbnail(thumbnail, name, suffix)
            paths = [self.parts / f"{sha256}.{thumbnail}", *([] if named is None else [named])]
            if self._rules.get(thumbnail) == rule and any(map(_is_file, paths)):
                yield thumbnail, suffix

    def _thumbnail(self, thumbnail: str, name: str, suffix: str) -> Path:
        return self._folder / THUMBNAILS / thumbnail / f"{Path(name).stem}{suffix}"

    def add(self, key: bytes, url: str, file: StoredFile) -> None:
        """Note what a worker stored, or found unchanged."""
        index = self._index()
        with self._errors():
            index.execute(
                "INSERT OR REPLACE INTO urls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    key,
                    url,
                    file.final_url,
                    file.sha256,
                    file.content_type,
                    file.width,
                    file.height,
                    file.etag,
                    file.last_modified,
                    self._run,
                    file.is_unchanged,
                    time.time(),
                ),
            )
            index.execute(
                "INSERT OR IGNORE INTO contents VALUES (?, ?, NULL)", (file.sha256, file.size)
            )
            index.executemany(
                "INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?, ?)",
                [
                    (file.sha256, name, self._rules[name], suffix)
                    for name, suffix in file.thumbnails.items()
                ],
            )

    def commit(self, key: bytes, url: str) -> dict[str, Any]:
        """Give a file its name, if it has none yet; what its item gets.

        To be called in the order of commit: so the names don't depend on timing.
        """
        row = self._row(_KNOWN, key)
        if row is None:
            raise OutputError(f"{self._folder / INDEX} has lost {url}")
        sha256, size, kind, width, height, *_, is_taken, name = row
        with self._errors():
            if not is_taken:
                self._index().execute("UPDATE urls SET is_taken = 1 WHERE key = ?", (key,))
            if name is None:
                name = self._new_name(url, sha256, SUFFIXES.get(kind, SUFFIXES[UNKNOWN]))
                query = "UPDATE contents SET name = ? WHERE sha256 = ?"
                self._index().execute(query, (name, sha256))
            self._put(self.parts / sha256, self._folder / name)
            record = {
                "url": url,
                "path": f"{self._prefix}/{name}",
                "sha256": sha256,
                "bytes": size,
                "content_type": kind,
                "width": width,
                "height": height,
            }
            if self._rules and width is not None:
                record["thumbnails"] = dict(self._put_thumbnails(sha256, name))
        return record

    def _new_name(self, url: str, sha256: str, suffix: str) -> str:
        name = file_name(url, sha256, suffix)
        query = "SELECT 1 FROM contents WHERE name = ?"
        if self._row(query, name) is not None:  # half of a hash can be met on purpose
            name = f"{sha256}{suffix}"
        return name

    def _put_thumbnails(self, sha256: str, name: str) -> Iterator[tuple[str, str]]:
        query = "SELECT name, suffix FROM thumbnails WHERE sha256 = ? ORDER BY name"
        for thumbnail, suffix in self._index().execute(query, (sha256,)).fetchall():
            if thumbnail in self._rules:
                path = self._thumbnail(thumbnail, name, suffix)
                self._put(self.parts / f"{sha256}.{thumbnail}", path)
                relative = path.relative_to(self._folder).as_posix()
                yield thumbnail, f"{self._prefix}/{relative}"

    def _put(self, part: Path, path: Path) -> None:
        """Move a part to its place, unless it is there already."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.replace(path)
        except FileNotFoundError:
            if not _is_file(path):
                raise
        else:
            self._touched.add(path.parent)

    def sync(self) -> None:
        """Bring all of it to the disk, before the journal says that it is there."""
        if self._connection is None:
            return
        with self._errors():
            for folder in self._touched:
                sync_folder(folder)
            self._touched.clear()
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")

    def committed(self) -> tuple[int, int, int]:
        """Files of this run: how many URLs, their bytes, how many of them were unchanged."""
        if self._connection is None and not (self._resumed and (self._folder / INDEX).exists()):
            return 0, 0, 0
        count, size, unchanged = self._row(_COMMITTED, self._run) or (0, 0, 0)
        return count, size, unchanged

    def tidy(self) -> None:
        """The crawl came to its end: nobody wants the parts that are left."""
        if self._connection is not None:
            self._remove_parts()
            self.sync()

    def close(self) -> None:
        """Let go of the folder."""
        if self._connection is None:
            return
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
        self._connection.close()
        self._connection = None

    def _index(self) -> sqlite3.Connection:
        if self._connection is None:
            with self._errors():
                self.parts.mkdir(parents=True, exist_ok=True)
                self._connection = _opened(self._folder / INDEX)
                self._remove_parts(only_halves=self._resumed)
        return self._connection

    def _remove_parts(self, *, only_halves: bool = False) -> None:
        with self._errors():
            for part in self.parts.glob("*.tmp" if only_halves else "*"):
                part.unlink(missing_ok=True)
            if not only_halves:
                self._index().execute("DELETE FROM contents WHERE name IS NULL")

    def _row(self, query: str, value: object) -> tuple[Any, ...] | None:
        index = self._index()
        with self._errors():
            row: tuple[Any, ...] | None = index.execute(query, (value,)).fetchone()
        return row

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"can't write {self._folder}: {error.strerror or error}") from error
        except sqlite3.DatabaseError as error:
            raise OutputError(f"can't write {self._folder / INDEX}: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    is_new = not path.exists()
    connection = sqlite3.connect(path, timeout=_SECONDS_FOR_OTHERS, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # until it is closed, or we are dead
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        if is_new or not _has_tables(connection):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        _check(connection, path)
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            message = f"another run stores files in {path.parent}; wait for its end"
            raise LockedError(message) from None
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) != (_APPLICATION_ID, _VERSION):
        raise OutputError(
            f"{path} is no index of files that this version can read; it was left as it is. Move "
            "it away, and all files are fetched again"
        )


def _is_file(path: Path, size: int | None = None) -> bool:
    """Whether it is a file, of that size; a link is none."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and size in (None, found.st_size)


def _written(rule: ThumbnailRule) -> str:
    width, height = rule.size
    return f"{width}x{height} {rule.how} {rule.format or 'own'}"
