"""The failed pages of a finished run, to be fetched again in a run of their own.

The new run begins as a copy of the old one in which the failed pages aren't done. So it is a crawl
that has still to do them, and what holds for every crawl holds for it: it may be killed and
resumed. The old run is only read.

    journal.sqlite   a copy; the failed requests wait under their old ranks
    earlier.jsonl    the old items
    retried.jsonl    the new items, as they are committed
    failed.jsonl     begins with what stays: items that failed in a step, files that are missed
    steps.jsonl      a copy: what steps know of the old items
    items.jsonl      made of the old items and the new ones at the end, each in its place
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

from crawler.errors import OutputError, UsageError
from crawler.history import LEFT_OUT, History
from crawler.journal import FIRST_FOLLOW_UP, JOURNAL
from crawler.notes import NOTES

ITEMS = "items.jsonl"
FAILED = "failed.jsonl"
EARLIER = "earlier.jsonl"
RETRIED = "retried.jsonl"

_DONE = frozenset({"ok"}) | LEFT_OUT - {"robots"}
HAS_FAILED = "rank IS NOT NULL AND outcome NOT IN ({})".format(
    ", ".join(f"'{outcome}'" for outcome in sorted(_DONE))
)
"""Of the pages that can be fetched again, in SQL; robots.txt may allow them now."""

_CAUSE = "iif(outcome = 'status', outcome || ' ' || status, outcome)"
"""As the statistics count failures, in SQL."""

_PUT_BACK = f"""
UPDATE requests SET outcome = 'limit' WHERE outcome IS NULL;
DROP TABLE IF EXISTS again;
-- Whose items are in retried.jsonl; so are those of all that are behind the last one.
CREATE TABLE again (rank INTEGER PRIMARY KEY);
INSERT INTO again SELECT rank FROM requests WHERE {HAS_FAILED};
INSERT INTO again SELECT max(rank) + 1 FROM requests;
UPDATE requests SET outcome = NULL, status = NULL, attempts = NULL, items = NULL, done_at = NULL,
    seconds = NULL, worker = NULL, final_url = NULL, final_fingerprint = NULL WHERE {HAS_FAILED};
DELETE FROM attempts;
"""  # noqa: S608  (outcomes of ours)


def put_back(old: Path, new: Path, *, in_order: bool, until_empty: bool) -> None:
    """Make a copy of the finished run in `old` in the empty folder `new`, with its failures undone.

    Raises UsageError if that can't be done, OutputError or OSError if it can't be written.
    """
    with History.of(old / JOURNAL) as history:
        history.copy_to(new / JOURNAL)
    items, _ = _write(new / EARLIER, _lines(old / ITEMS))
    offsets = {RETRIED: 0}
    _, offsets[FAILED] = _write(new / FAILED, filter(_is_of_no_page, _lines(old / FAILED)))
    if (old / NOTES).exists():
        _, offsets[NOTES] = _write(new / NOTES, _lines(old / NOTES))
    try:
        with closing(sqlite3.connect(new / JOURNAL, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _check_items(connection, items, old / ITEMS)
            if until_empty:
                _check_end(connection)
            state = _corrected(connection, items, offsets, in_order=in_order)
            connection.executescript(_PUT_BACK)
            connection.execute(
                "UPDATE state SET value = ? WHERE name = 'state'", (json.dumps(state),)
            )
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        raise OutputError(f"can't write {new / JOURNAL}: {error}") from error


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            yield from stream
    except FileNotFoundError:
        raise UsageError(f"{path} is missing, so the run can't be gone on with") from None


def _write(path: Path, lines: Iterable[bytes]) -> tuple[int, int]:
    """How many lines and bytes they are."""
    count = size = 0
    with path.open("xb") as stream:
        for line in lines:
            count += 1
            size += stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())
    return count, size


def _is_of_no_page(line: bytes) -> bool:
    """Whether it is an item that failed in a step, or a file that a page's item misses."""
    try:
        record = json.loads(line)
        return bool(record["kind"] == "pipeline" or "page" in record)
    except (ValueError, KeyError, TypeError):
        return False


def _check_items(connection: sqlite3.Connection, found: int, path: Path) -> None:
    noted = connection.execute("SELECT coalesce(sum(items), 0) FROM requests").fetchone()[0]
    if found != noted:
        raise UsageError(
            f"{path} has {found} items, but {noted} had been written: somebody changed it, so "
            "nobody knows where new ones belong; begin a new run"
        )


def _check_end(connection: sqlite3.Connection) -> None:
    last = connection.execute(
        f"SELECT url, {HAS_FAILED} FROM requests WHERE place < ? "  # noqa: S608  (ours)
        "ORDER BY place DESC LIMIT 1",
        (FIRST_FOLLOW_UP,),
    ).fetchone()
    if last is not None and last[1]:
        raise UsageError(
            f"the pages ended where they failed, at {last[0]}: nobody knows what is behind it; "
            "begin a new run"
        )


def _corrected(
    connection: sqlite3.Connection, items: int, offsets: dict[str, int], *, in_order: bool
) -> dict[str, Any]:
    """The last checkpoint's state without the failed pages."""
    row = connection.execute("SELECT value FROM state WHERE name = 'state'").fetchone()
    state: dict[str, Any] = json.loads(row[0])
    if state["is_cut"] and not in_order:
        raise UsageError(
            "the run found all items that it should (--max-items), in no order: what failed "
            "isn't needed"
        )
    stats, scheduler = state["stats"], state["scheduler"]
    failures, skipped = dict(stats["failures"]), dict(scheduler["skipped"])
    for kind, count in connection.execute(
        f"SELECT {_CAUSE}, count(*) FROM requests WHERE {HAS_FAILED} GROUP BY 1"  # noqa: S608
    ):
        if kind in failures:
            failures[kind] -= count
            stats["failed"] -= count
        elif kind in skipped:
            skipped[kind] -= count
    (starts,) = connection.execute(
        "SELECT count(*) FROM requests WHERE place < ?", (FIRST_FOLLOW_UP,)
    ).fetchone()
    stats.update(
        failures={kind: count for kind, count in failures.items() if count > 0},
        items=items,
        gave_up=None,
    )
    scheduler.update(skipped={k: count for k, count in skipped.items() if count > 0}, starts=starts)
    return {
        **state,
        "offsets": offsets,
        "failed_in_a_row": 0,
        "is_cut": False,
        "refusals": {**state["refusals"], "pages": 0, "refused": {}, "given_up": {}},
    }


def merged(
    pages: Iterable[tuple[int, bool]],
    earlier: Iterator[bytes],
    retried: Iterator[bytes],
    *,
    in_order: bool,
) -> Iterator[bytes]:
    """The items of both, in the order of the ranks if they have any.

    `pages` are, by rank, the number of a page's items, and whether they are among the new ones.
    """
    if in_order:
        for count, is_new in pages:
            yield from islice(retried if is_new else earlier, count)
    yield from chain(earlier, retried)
