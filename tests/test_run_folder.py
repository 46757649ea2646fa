"""What a run leaves behind, and who may be at it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crawler import run_folder
from crawler.errors import LockedError, UsageError
from crawler.run_folder import RunFolder, latest_runs, new_run_id, read_run, run_folders

log = logging.getLogger("crawler.test")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """An open run named posts."""
    folder = RunFolder.create(tmp_path, "posts", mode="threads")
    yield folder
    if not folder._is_closed:
        folder.close("finished", {})


def closed(output: Path, name: str = "posts", state: str = "finished") -> RunFolder:
    folder = RunFolder.create(output, name)
    folder.close(state, {})
    return folder


def read(folder: RunFolder, name: str = "run.json") -> Any:
    return json.loads((folder.path / name).read_text(encoding="utf-8"))


def lines(folder: RunFolder, name: str) -> list[str]:
    return (folder.path / name).read_text(encoding="utf-8").split("\n")[:-1]


# ---- What is in it ----


def test_a_run_has_a_folder_of_its_own(tmp_path: Path, folder: RunFolder) -> None:
    assert folder.path == tmp_path / "runs" / "posts" / folder.run_id
    folder.close("finished", {"pages": 3})
    names = sorted(path.name for path in folder.path.iterdir())
    assert names == [
        "failed.jsonl",
        "items.jsonl",
        "journal.sqlite",
        "run.json",
        "run.log",
        "stats.json",
    ]
    assert read(folder, "stats.json") == {"pages": 3}
    assert lines(folder, "failed.jsonl") == []


def test_a_runs_facts_tell_what_was_asked_for_and_how_it_stands(folder: RunFolder) -> None:
    facts = read(folder)
    assert facts["state"] == "running"
    assert facts["name"] == "posts"
    assert facts["mode"] == "threads"
    assert facts["id"] == folder.run_id
    assert facts["command"] == sys.argv
    assert set(facts["versions"]) == {"crawl-in-order", "python"}
    assert "finished" not in facts
    folder.note(progress="crawl-1")
    folder.close("interrupted", {})
    facts = read(folder)
    assert (facts["state"], facts["progress"]) == ("interrupted", "crawl-1")
    assert datetime.fromisoformat(facts["started"]) <= datetime.fromisoformat(facts["finished"])


def test_facts_that_are_not_plain_are_told_as_text(folder: RunFolder) -> None:
    folder.note(path=Path("/x"), url="http://x/\udc80")
    facts = read(folder)
    assert (facts["path"], facts["url"]) == ("/x", "http://x/\udc80")


def test_ids_sort_by_time_also_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", new_run_id())
    times = [datetime(2026, 11, 23, 1, 48, 0, micro, UTC) for micro in (0, 9, 15, 255, 999_999)]
    times.append(datetime(2026, 11, 23, 1, 48, 1, tzinfo=UTC))
    clock = iter(times)
    monkeypatch.setattr(run_folder, "_now", lambda: next(clock))
    made = [new_run_id() for _ in times]
    assert made == sorted(made)


# ---- Failures ----


@pytest.mark.parametrize(
    ("record", "written"),
    [
        ({"url": "http://x/汉", "status": None}, {"url": "http://x/汉", "status": None}),
        ({"message": "two\nlines\u2028here"}, {"message": "two\nlines\u2028here"}),
        ({"url": "http://x/\udc80"}, {"url": "http://x/\udc80"}),
        ({"item": {"when": datetime(2026, 1, 1, tzinfo=UTC)}}, None),
        ({"item": {"bytes": b"x", (1, 2): "a key that is none"}}, {"item": {"bytes": "b'x'"}}),
    ],
)
def test_a_failure_is_a_line_whatever_it_quotes(
    folder: RunFolder, record: dict[str, Any], written: dict[str, Any] | None
) -> None:
    folder.fail(record)
    folder.fail({"rank": 1})
    folder.sync()
    first, second = (folder.path / "failed.jsonl").read_bytes().splitlines()
    if written is None:
        written = {"item": {"when": "2026-01-01 00:00:00+00:00"}}
    assert json.loads(first) == written
    assert json.loads(second) == {"rank": 1}


def test_a_folder_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(UsageError, match=f"^can't write {tmp_path}/runs/posts: .*--output-dir"):
        RunFolder.create(tmp_path, "posts")


# ---- The log ----


def test_the_log_has_what_happened_while_the_run_was_open(
    tmp_path: Path, folder: RunFolder
) -> None:
    log.warning("during")
    folder.close("finished", {})
    log.warning("after")
    (line,) = lines(folder, "run.log")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+ WARNING crawler.test: during", line)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_log_that_can_not_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder.create(tmp_path, "posts")
    folder._log.close()
    folder._log.setStream(open("/dev/full", "w"))  # noqa: SIM115
    for number in range(3):
        log.warning("line %d", number)
    folder.close("finished", {})
    told = [record.getMessage() for record in caplog.records if record.name != log.name]
    assert told == [f"can't write {folder.path / 'run.log'}: No space left on device"]


def test_what_a_page_says_can_not_forge_a_line_of_the_log(folder: RunFolder) -> None:
    log.warning("title: %s", "a\r\n2026-01-01 00:00:00 ERROR forged\x1b[31m\u202e\x9b")
    try:
        raise ValueError("page\nsaid")
    except ValueError:
        log.exception("it failed")
    text = (folder.path / "run.log").read_text(encoding="utf-8")
    events = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(events) == 2
    assert "\n    2026-01-01 00:00:00 ERROR forged\\x1b[31m\\u202e\\x9b\n" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


# ---- One at a time ----


def test_a_second_run_of_a_name_is_refused(tmp_path: Path, folder: RunFolder) -> None:
    with pytest.raises(LockedError, match="another run of posts is at work") as caught:
        RunFolder.create(tmp_path, "posts")
    assert caught.value.exit_code == 5
    assert len(latest_runs(tmp_path)) == 1
    closed(tmp_path, "another")
    folder.close("finished", {})
    closed(tmp_path, "posts")


def test_the_lock_of_a_run_that_was_killed_is_free(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from crawler.run_folder import RunFolder
        RunFolder.create(Path(sys.argv[1]), "posts")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)])
    assert killed.returncode == -9
    closed(tmp_path)
    assert [facts["state"] for facts in latest_runs(tmp_path)] == ["finished", "running"]


def test_another_process_is_refused_too(tmp_path: Path, folder: RunFolder) -> None:
    code = """
        import sys
        from pathlib import Path
        from crawler.errors import LockedError
        from crawler.run_folder import RunFolder
        try:
            RunFolder.create(Path(sys.argv[1]), "posts")
        except LockedError:
            print("locked")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "locked\n"


@pytest.mark.parametrize("name", ["a" * 256, "\u6c49" * 86])
def test_a_name_is_no_longer_than_names_of_folders_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"has 25[68] bytes: .* folder, which may have 255"):
        RunFolder.create(tmp_path, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", ".", "..", "../posts", "a/b", "a\0b", "a\nb"])
def test_a_name_stays_within_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a run"):
        RunFolder.create(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_no_run_is_called_as_a_path(tmp_path: Path) -> None:
    assert run_folders(tmp_path, "/etc") == run_folders(tmp_path, "../a") == []


# ---- Older runs ----


@pytest.fixture
def ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids for the runs to come."""
    given: list[str] = []
    monkeypatch.setattr(run_folder, "new_run_id", lambda: given.pop(0))
    return given


def test_the_last_runs_are_kept(tmp_path: Path, ids: list[str]) -> None:
    ids += ["1", "2", "3", "4", "other"]
    runs = [closed(tmp_path) for _ in range(4)]
    other = closed(tmp_path, "other")
    runs[-1].remove_older(keep=2)
    assert [run.path.exists() for run in [*runs, other]] == [False, False, True, True, True]
    runs[-1].remove_older(keep=1)
    assert [run.path.exists() for run in runs] == [False, False, False, True]


def test_a_run_never_removes_itself_even_if_the_clock_went_back(
    tmp_path: Path, ids: list[str]
) -> None:
    ids += ["8", "9", "1"]
    runs = [closed(tmp_path) for _ in range(3)]
    runs[-1].remove_older(keep=2)
    assert [run.path.exists() for run in runs] == [False, True, True]


def test_what_is_no_run_is_not_removed(tmp_path: Path) -> None:
    folder = closed(tmp_path)
    (folder.path.parent / "0-mine").mkdir()
    half_begun = folder.path.parent / "20261123T014800Z-00000000"  # killed before its run.json
    half_begun.mkdir()
    folder.remove_older(keep=1)
    assert (folder.path.parent / "0-mine").is_dir()
    assert not half_begun.exists()


def test_runs_are_listed_the_newest_first(tmp_path: Path, ids: list[str]) -> None:
    ids += ["1", "2", "3"]
    first, second, third = (closed(tmp_path, name) for name in ("a", "[b]", "a"))
    assert [facts["folder"] for facts in latest_runs(tmp_path)] == [
        third.path,
        second.path,
        first.path,
    ]
    assert [facts["id"] for facts in latest_runs(tmp_path, "a")] == ["3", "1"]
    assert [facts["id"] for facts in latest_runs(tmp_path, "[b]")] == ["2"]
    assert latest_runs(tmp_path, "*") == []
    assert latest_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", ["", "[1]", "{}", "{", '"id"'])
def test_what_can_not_be_read_is_not_listed(tmp_path: Path, content: str) -> None:
    folder = closed(tmp_path)
    (folder.path / "run.json").write_text(content)
    assert latest_runs(tmp_path) == []


# ---- The latest one ----


def test_latest_leads_to_the_newest_run(tmp_path: Path, ids: list[str]) -> None:
    ids += ["1", "2", "3"]
    latest = tmp_path / "runs/posts/latest"
    first = closed(tmp_path)
    assert latest.resolve() == first.path
    assert os.readlink(latest) == "1", "the folder may be moved"
    second = closed(tmp_path)
    assert latest.resolve() == second.path
    assert read_run(latest) == read_run(second.path), "its name is that of the run"
    assert [facts["id"] for facts in latest_runs(tmp_path)] == ["2", "1"]
    third = RunFolder.create(tmp_path, "posts")
    third.remove_older(keep=1)
    third.discard()
    assert not latest.is_symlink(), "the last run was discarded"
    assert sorted(p.name for p in latest.parent.iterdir() if p.name != ".lock") == []


def test_a_run_that_is_discarded_leaves_latest_to_the_one_before(tmp_path: Path) -> None:
    first = closed(tmp_path)
    RunFolder.create(tmp_path, "posts").discard()
    assert (tmp_path / "runs/posts/latest").resolve() == first.path


def test_where_no_link_can_be_made_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert closed(tmp_path).path.is_dir()


def test_what_is_called_latest_and_is_no_link_stays(tmp_path: Path) -> None:
    """As a copy of the folder may have made it."""
    (tmp_path / "runs/posts/latest").mkdir(parents=True)
    (tmp_path / "runs/posts/latest/mine").touch()
    closed(tmp_path).remove_older(keep=1)
    assert (tmp_path / "runs/posts/latest/mine").exists()


# ---- Runs that leave nothing ----


def test_a_temporary_run_is_gone_when_it_is_closed() -> None:
    folder = RunFolder.temporary("posts")
    folder.fail({"rank": 0})
    folder.note(progress="crawl-1")
    folder.remove_older(keep=1)
    assert folder.path.is_dir()
    folder.close("finished", {})
    assert not folder.path.exists()


def test_two_temporary_runs_of_a_name_may_be_at_work() -> None:
    folders = [RunFolder.temporary("posts") for _ in range(2)]
    assert folders[0].path != folders[1].path
    for folder in folders:
        folder.close("finished", {})
