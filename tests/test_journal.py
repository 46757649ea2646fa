"""The journal: what was noted before a checkpoint is there after any end; nothing else is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler import Request, backlog, journal
from crawler.backlog import FollowUp
from crawler.errors import LockedError, OutputError, UsageError
from crawler.fingerprint import fingerprint
from crawler.journal import FIRST_FOLLOW_UP, Journal, Outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def written(path: Path) -> Iterator[Journal]:
    created = Journal.create(path)
    yield created
    created.close()


def follow_up(number: int, **request: object) -> FollowUp:
    made = Request(f"http://x/{number}", **request)  # type: ignore[arg-type]
    return FollowUp(made, fingerprint(made), 1, True, 0)


def urls(found: Journal) -> list[str]:
    taken = []
    while (each := found.take()) is not None:
        taken.append(each.request.url)
    return taken


def test_the_queue_is_first_in_first_out_across_sessions(path: Path, written: Journal) -> None:
    for number in range(5):
        written.add(follow_up(number))
    first = written.take()
    assert first is not None
    written.done(first.place, Outcome(outcome="ok", rank=0))
    written.take()  # in flight when it ends
    written.checkpoint({"pages": 1})
    written.close()
    again = Journal.open(path)
    assert again.queued == 4
    again.add(follow_up(5))
    assert urls(again) == [f"http://x/{number}" for number in range(1, 6)]
    assert again.state() == {"pages": 1}
    assert list(again.ranks()) == [0]
    again.close()


def test_what_came_after_the_last_checkpoint_is_forgotten(path: Path, written: Journal) -> None:
    written.add(follow_up(0))
    written.checkpoint({})
    written.add(follow_up(1))
    written.done(FIRST_FOLLOW_UP, Outcome(outcome="ok", rank=0))
    written.close()
    again = Journal.open(path)
    assert urls(again) == ["http://x/0"]
    again.close()


def test_a_long_queue_stays_on_disk_and_in_order(
    written: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_IN_MEMORY", 7)
    monkeypatch.setattr(journal, "_MAX_BUFFERED", 5)
    taken: list[str] = []
    for number in range(100):
        written.add(follow_up(number))
        assert len(written._usual._in_order) <= 15
        if number % 3 == 0:
            each = written.take()
            assert each is not None
            taken.append(each.request.url)
            written.done(each.place, Outcome(outcome="ok", rank=len(taken)))
    assert taken + urls(written) == [f"http://x/{number}" for number in range(100)]
    assert written.queued == 0


def test_a_request_comes_back_as_it_was(path: Path, written: Journal) -> None:
    requests = [
        Request("http://x/汉"),
        Request("http://x/1", "PUT", {"A": "b"}, bytes(range(256)), "detail", {"a": [1, None]}),
        Request("http://x/2", json={"a": 1}, dont_filter=True, session="s"),
        Request("http://x/3", priority=-3),
    ]
    for request in requests:
        written.add(FollowUp(request, fingerprint(request), 3, False, 17))
    written.checkpoint({})
    written.close()
    again = Journal.open(path)
    for request in requests:
        found = again.take()
        assert found is not None
        assert (found.request, found.depth, found.is_in_scope, found.parent) == (
            request,
            3,
            False,
            17,
        )
    again.close()


def test_attempts_are_kept_until_the_request_is_done(path: Path, written: Journal) -> None:
    written.attempted(b"a" * 16, 1)
    written.attempted(b"b" * 16, 1)
    written.checkpoint({})
    written.attempted(b"a" * 16, 2)
    written.attempted(b"b" * 16, 0)
    written.checkpoint({})
    written.close()
    again = Journal.open(path)
    assert again.attempts() == {b"a" * 16: 2}
    again.close()


def test_a_checkpoint_waits_for_the_disk(path: Path, written: Journal) -> None:
    assert written._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert written._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    written.close()
    again = Journal.open(path)
    assert again._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    again.close()


# ---- What is refused, and left as it is ----


def test_f12_f34_a_journal_of_a_newer_version_is_refused_and_untouched(
    path: Path, written: Journal
) -> None:
    written.checkpoint({})
    written.close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {journal.VERSION + 1}")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"another version .* \(journal version 2, .* knows 1\)"):
        Journal.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"some text", b"SQLite format 3\0" + bytes(84)])
def test_f12_a_file_that_is_no_journal_is_refused_and_untouched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no journal of a crawl; it was left as it is"):
        Journal.open(path)
    assert path.read_bytes() == content


def test_f12_a_database_of_another_program_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(UsageError, match="is no journal"):
        Journal.open(path)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_f12_a_journal_that_was_cut_off_is_refused(
    path: Path, written: Journal, keep: float
) -> None:
    for number in range(2_000):
        written.add(follow_up(number))
    written.checkpoint({})
    written.close()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UsageError, match=r"is damaged \(.*nothing was changed"):
        Journal.open(path)
    assert len(path.read_bytes()) == int(len(content) * keep)


def test_f18_a_journal_that_another_program_holds_is_refused(
    path: Path, written: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.checkpoint({})
    monkeypatch.setattr(journal, "_SECONDS_FOR_OTHERS", 0.2)
    with pytest.raises(LockedError, match="in use by another program"):
        Journal.open(path)


def test_others_can_read_while_it_is_written(path: Path, written: Journal) -> None:
    written.add(follow_up(0))
    written.checkpoint({})
    written.add(follow_up(1))
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM requests").fetchone() == (1,)
    reader.close()


def test_an_error_of_the_database_names_the_file(path: Path, written: Journal) -> None:
    written._connection.execute("DROP TABLE state")
    with pytest.raises(OutputError, match=f"can't write {path}: no such table: state") as caught:
        written.checkpoint({})
    assert caught.value.exit_code == 8
