"""What a journal tells: of a crawl at work, of one that was killed, of one that ended."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler import Request
from crawler.backlog import FollowUp
from crawler.errors import UsageError
from crawler.fingerprint import fingerprint
from crawler.history import History
from crawler.journal import Journal, Outcome

WRITER = """
import sys, pathlib
from crawler import Request
from crawler.backlog import FollowUp
from crawler.journal import Journal
journal = Journal.create(pathlib.Path(sys.argv[1]))
for number in range(5000):
    journal.add(FollowUp(Request(f"http://x/{number}"), b"%d" % number, 1, True, 0))
    if number % 1000 == 0:
        journal.checkpoint({"stats": {"pages": number}})
journal.checkpoint({"stats": {"pages": 5000}})
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder?#%" / "journal.sqlite"


@pytest.fixture
def at_work(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the journal open, and has more in it than in the main file."""
    path.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


def pages(path: Path) -> object:
    with History.of(path) as history:
        assert len(history.find("http://x/4999")) == 1
        return history.state()["stats"]["pages"]


def test_a_crawl_that_is_at_work_is_read_and_not_disturbed(
    path: Path, at_work: subprocess.Popen[bytes]
) -> None:
    before = contents(path.parent)
    assert pages(path) == 5000
    assert contents(path.parent) == before


@pytest.mark.parametrize("lost", [None, "journal.sqlite-shm"])
def test_the_files_of_a_killed_crawl_stay_as_they_are(
    path: Path, at_work: subprocess.Popen[bytes], lost: str | None
) -> None:
    os.kill(at_work.pid, signal.SIGKILL)
    at_work.wait()
    if lost is not None:
        path.with_name(lost).unlink()
    before = contents(path.parent)
    assert pages(path) == 5000
    assert contents(path.parent) == before
    journal = Journal.open(path)
    assert journal.queued == 5000
    journal.close()


def test_a_crawl_that_ended_leaves_one_file_also_after_it_was_read(
    path: Path, at_work: subprocess.Popen[bytes]
) -> None:
    os.kill(at_work.pid, signal.SIGKILL)
    at_work.wait()
    Journal.open(path).close()
    path.parent.chmod(0o500)
    before = contents(path.parent)
    assert set(before) == {"journal.sqlite"}
    assert pages(path) == 5000
    path.parent.chmod(0o700)
    assert contents(path.parent) == before


def test_without_wal_it_is_read_from_what_is_there(path: Path) -> None:
    """As on file systems where WAL doesn't work."""
    path.parent.mkdir()
    Journal.create(path).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    connection.close()
    journal = Journal.open(path)
    journal.add(FollowUp(Request("http://x/1"), b"1", 1, True, 0))
    journal.checkpoint({})
    journal.add(FollowUp(Request("http://x/2"), b"2", 1, True, 0))
    journal._write()
    with History.of(path) as history:
        assert len(history.find("http://x/1")) == 1
        assert not history.find("http://x/2")
    journal.checkpoint({})
    journal.close()


@pytest.mark.parametrize("damage", [0.3, 0.7])
def test_a_damaged_one_says_so(path: Path, at_work: subprocess.Popen[bytes], damage: float) -> None:
    at_work.kill()
    at_work.wait()
    Journal.open(path).close()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * damage)])
    with pytest.raises(UsageError, match="can't be read"):
        pages(path)
    path.write_bytes(b"no database at all")
    with pytest.raises(UsageError, match="is no journal"):
        pages(path)
    path.unlink()
    with pytest.raises(UsageError, match="can't read"):
        pages(path)


def test_a_state_that_is_none_says_so(path: Path) -> None:
    path.parent.mkdir()
    journal = Journal.create(path)
    journal.checkpoint({})
    journal._connection.execute("UPDATE state SET value = '{'")
    journal._connection.execute("COMMIT")
    journal._connection.execute("BEGIN")
    journal.close()
    with History.of(path) as history, pytest.raises(UsageError, match="is damaged"):
        history.state()


# ---- What is asked ----


@pytest.fixture
def chain(path: Path) -> Path:
    """A start page and a chain of follow-ups, each linked from the one before; one left."""
    path.parent.mkdir()
    journal = Journal.create(path)
    start = Request("http://h:80/0")
    journal.started(0, start, fingerprint(start))
    journal.done(0, Outcome(outcome="ok", rank=0, items=2))
    link = None
    for number in range(1, 8):
        request = Request(f"http://h/{number}")
        journal.add(FollowUp(request, fingerprint(request), number, True, number - 1))
        if number < 7:
            link = journal.take()
            assert link is not None
            moved = "http://h/moved" if number == 5 else None
            journal.done(
                link.place,
                Outcome(
                    outcome="timeout" if number == 3 else "ok",
                    rank=number,
                    items=number % 2,
                    final_url=moved,
                    final_fingerprint=None if moved is None else fingerprint(Request(moved)),
                ),
            )
    post = Request("http://h/form", form={"a": "b"})
    journal.add(FollowUp(post, fingerprint(post), 1, True, 0))
    journal.checkpoint({})
    journal.close()
    return path


@pytest.mark.parametrize(
    ("url", "rank"),
    [
        ("HTTP://H/x/../4#part", 4),
        ("http://h/0", 0),
        ("http://h/moved", 5),
        ("http://h/5", 5),
        ("http://h/form", None),
    ],
)
def test_a_url_is_found_however_it_is_written(chain: Path, url: str, rank: int | None) -> None:
    with History.of(chain) as history:
        (found,) = history.find(url)
    assert found.rank == rank


def test_the_way_back_to_the_start(chain: Path) -> None:
    with History.of(chain) as history:
        (last,) = history.find("http://h/7")
        assert last.outcome is None
        parents = list(history.parents(last))
        assert [parent.rank for parent in parents] == [6, 5, 4, 3, 2, 1, 0]
        assert [parent.is_start for parent in parents] == [False] * 6 + [True]
        assert [parent.has_failed for parent in parents].count(True) == 1
        assert not list(history.parents(parents[-1]))


def test_counts(chain: Path) -> None:
    with History.of(chain) as history:
        (form,) = history.find("http://h/form")
        assert history.number_before(form) == 1
        assert history.number_of_items_before(6) == 2 + 3
        assert history.number_failed() == 1
        assert list(history.start_urls()) == [("http://h:80/0", None)]


def test_a_copy_is_a_journal_of_its_own(chain: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    before = contents(chain.parent)
    with History.of(chain) as history:
        history.copy_to(copy)
    assert contents(chain.parent) == before
    shutil.rmtree(chain.parent)
    journal = Journal.open(copy)
    assert journal.queued == 2
    assert list(journal.ranks()) == list(range(7))
    journal.close()
