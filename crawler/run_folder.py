"""A run's folder: everything a crawl leaves behind, at `output/runs/NAME/<UTC time>-<short id>/`.

run.json         what was asked for, by whom, and how it stands
items.jsonl      the items committed so far, in order; outputs are made from it (of a run that
                 fetches failed pages again, see crawler.again)
failed.jsonl     a line per page that failed
skipped.jsonl    a line per link that was not followed, if that was asked for
steps.jsonl      what steps want to know again when the run is resumed (see crawler.notes)
journal.sqlite   the queue and what is done: from here a run is resumed (see crawler.journal)
stats.json       counts and times, at the end
run.log          what happened; of many equal events the first ones (see crawler.run_log)

Beside the folders of a name, `latest` is a link to the newest one.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import IO, Any, Self

from crawler.again import EARLIER, FAILED, ITEMS, RETRIED, merged
from crawler.errors import CrawlError, LockedError, OutputError, UsageError
from crawler.journal import JOURNAL, Journal
from crawler.lock import lock
from crawler.notes import NOTES, StepNotes
from crawler.part import Part
from crawler.proxy import without_password
from crawler.publish import replacing, sync_folder
from crawler.run_log import RunLog
from crawler.version import __version__

RUNS_FOLDER = "runs"
LATEST = "latest"
_SKIPPED = "skipped.jsonl"
_LONGEST_NAME = 255
"""Bytes, on nearly all file systems."""
_ELSEWHERE = "; --output-dir names another place"


class RunFolder:
    """One run's files. Only one run of a name at a time may have its folder open.

    Raises UsageError when the name can't be that of a folder, LockedError when another has it open,
    OutputError when files can't be written.
    """

    def __init__(
        self,
        path: Path,
        facts: dict[str, Any],
        journal: Journal,
        *,
        locked: IO[bytes] | None = None,
        is_temporary: bool = False,
    ) -> None:
        self.path = path
        self.journal = journal
        self._facts = facts
        self._locked = locked
        self.is_temporary = is_temporary
        self._is_closed = False
        self.is_retry = (path / EARLIER).exists() and facts.get("state") != "finished"
        """Whether failed pages of an earlier run are fetched again in it."""
        self.items = self._part(RETRIED if self.is_retry else ITEMS)
        self.failed = self._part(FAILED)
        self._made_late: dict[str, Part] = {}
        self._log = RunLog(path / "run.log")
        logging.getLogger().addHandler(self._log)

    def _part(self, name: str) -> Part:
        return Part(self.path / name, durable=not self.is_temporary)

    @classmethod
    def create(
        cls,
        output: Path,
        name: str,
        run_id: str | None = None,
        *,
        fill: Callable[[Path], None] | None = None,
        **facts: Any,
    ) -> Self:
        """A new folder below `output`, under the lock of its name.

        `fill` is given the folder, to put a journal there that is to be gone on with.
        """
        check_name(name)
        parent = output.absolute() / RUNS_FOLDER / name  # a spider may change the directory
        try:
            parent.mkdir(parents=True, exist_ok=True)
            locked = _locked(parent, "wait for it, or give this one a --name")
            run_id = run_id or new_run_id()
            path = parent / run_id
            path.mkdir(mode=0o700)  # it may hold cookies and what is behind a login
            journal = _journal(path, fill)
            folder = cls(path, _facts(name, run_id, facts), journal, locked=locked)
            folder.note(state="running")
            _point_to(path)
            for each in (path, *list(path.parents)[:4]):
                sync_folder(each)
        except OSError as error:
            raise UsageError(
                f"can't write {parent}: {error.strerror or error}{_ELSEWHERE}"
            ) from None
        except OutputError as error:
            raise UsageError(f"{error}{_ELSEWHERE}") from None
        return folder

    @classmethod
    def temporary(cls, name: str, **facts: Any) -> Self:
        """A folder that is gone when it is closed, for runs that publish nothing."""
        path = Path(tempfile.mkdtemp(prefix="crawl-"))
        journal = Journal.create(path / JOURNAL, durable=False)
        return cls(path, _facts(name, new_run_id(), facts), journal, is_temporary=True)

    @classmethod
    def reopen(cls, path: Path, **facts: Any) -> Self:
        """The folder of a run that is to be resumed, as it was at the last checkpoint.

        `facts` replace those of run.json. Raises UsageError when something in it is damaged, and
        LockedError when it is at work; nothing is changed then.
        """
        old = read_run(path)
        session = {"at": _when(), "command": _command()}
        known = {**old, **_by_whom(), **facts, "resumed": [*old.get("resumed", []), session]}
        try:
            locked = _locked(path.parent, "wait for its end")
            try:
                journal = Journal.open(path / JOURNAL)
            except CrawlError:
                locked.close()
                raise
            folder = cls(path, known, journal, locked=locked)
        except OSError as error:
            raise UsageError(f"can't write {path}: {error.strerror or error}") from None
        try:
            offsets = (journal.state() or {}).get("offsets", {})
            for part in folder._parts():
                part.check(offsets.get(part.path.name, 0))
            for part in folder._parts():
                part.cut(offsets.get(part.path.name, 0))
        except CrawlError:
            folder._is_closed = True
            folder._let_go()
            raise
        folder._facts.pop("finished", None)
        folder.note(state="running")
        return folder

    @property
    def name(self) -> str:
        """The run's name, which all runs of a spider share."""
        return str(self._facts["name"])

    @property
    def run_id(self) -> str:
        """`<UTC time>-<short id>`."""
        run_id: str = self._facts["id"]
        return run_id

    def note(self, **facts: Any) -> None:
        """Add to run.json, which is replaced whole."""
        self._facts.update(facts)
        facts = {key: value for key, value in self._facts.items() if key != "folder"}
        self._write_json("run.json", facts)

    def fail(self, record: dict[str, Any]) -> None:
        """Add a line to failed.jsonl."""
        self.failed.append([_json(record)])

    def skip(self, record: dict[str, Any]) -> None:
        """Add a line to skipped.jsonl."""
        self._late_part(_SKIPPED).append([_json(record)])

    def notes_of(self, step: str) -> StepNotes:
        """Where the step of that name keeps what it must know again when the run is resumed."""
        return StepNotes(
            step,
            lambda: self._late_part(NOTES),
            is_there=lambda: (self.path / NOTES).exists(),
        )

    def _late_part(self, name: str) -> Part:
        """One that most runs don't have."""
        if name not in self._made_late:
            self._made_late[name] = self._part(name)
        return self._made_late[name]

    def sync(self) -> dict[str, int]:
        """Bring what is written to the disk; the length of each file that only grows."""
        return {part.path.name: part.sync() for part in self._parts()}

    def found(self) -> Iterator[bytes]:
        """All items, line by line; those of the earlier run too, if failed pages are retried."""
        lines = self.items.lines()
        if not self.is_retry:
            yield from lines
            return
        in_order = bool(self._facts.get("in_order", True))
        with _errors_of(self.path / EARLIER), (self.path / EARLIER).open("rb") as stream:
            earlier = (line.rstrip(b"\n") for line in stream)
            yield from merged(self.journal.placed(), earlier, lines, in_order=in_order)

    def _put_together(self) -> None:
        """Make items.jsonl of what was found before and what was found again."""
        path = self.path / ITEMS
        with _errors_of(path), replacing(path) as stream:
            stream.writelines(line + b"\n" for line in self.found())

    def _parts(self) -> list[Part]:
        late = [name for name in (_SKIPPED, NOTES) if (self.path / name).exists()]
        return [self.items, self.failed, *map(self._late_part, late)]

    def close(self, state: str, stats: dict[str, Any]) -> None:
        """Write the statistics and how it ended, and let go of the lock."""
        self._is_closed = True
        try:
            if self.is_retry and state == "finished":
                self._put_together()
            for part in self._parts():
                part.close()
            self._write_json("stats.json", stats)
            self.note(state=state, finished=_when())
            if self.is_retry and state == "finished":
                for name in (EARLIER, RETRIED):
                    (self.path / name).unlink(missing_ok=True)
        finally:
            self._let_go()

    def discard(self) -> None:
        """Remove it, as if the run had never begun."""
        self._is_closed = True
        for part in self._parts():
            part.close()
        self._let_go()
        shutil.rmtree(self.path, ignore_errors=True)
        if self.is_temporary:
            return
        left = run_folders(self.path.parents[2], self.path.parent.name)
        if left:
            _point_to(left[0])
        elif (self.path.parent / LATEST).is_symlink():
            (self.path.parent / LATEST).unlink()

    def _let_go(self) -> None:
        self.journal.close()
        logging.getLogger().removeHandler(self._log)
        self._log.close()
        if self._locked is not None:
            self._locked.close()
        if self.is_temporary:
            shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A run that ends without saying how has failed."""
        if self._is_closed:
            return
        try:
            self.close("failed", {})
        except OutputError:
            if kind is None:
                raise  # else what broke first says more

    def remove_older(self, keep: int) -> None:
        """Remove all but the last `keep` runs of this name, never this one."""
        if self.is_temporary:
            return
        others = sorted(p for p in self.path.parent.iterdir() if p != self.path and _is_run(p))
        for path in others[: max(0, len(others) - keep + 1)]:
            shutil.rmtree(path, ignore_errors=True)

    def _write_json(self, name: str, data: dict[str, Any]) -> None:
        path = self.path / name
        with _errors_of(path), replacing(path) as stream:
            stream.write(_json(data, indent=2) + b"\n")


def _journal(path: Path, fill: Callable[[Path], None] | None) -> Journal:
    if fill is None:
        return Journal.create(path / JOURNAL)
    try:
        fill(path)
        return Journal.open(path / JOURNAL)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def check_name(name: str) -> None:
    """Raise UsageError if it can't be the name of a run, whose folder has it too."""
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise UsageError(f"{name!r} is no name for a run: it becomes the name of a folder")
    size = len(name.encode())
    if size > _LONGEST_NAME:
        raise UsageError(
            f"the name of the run has {size} bytes: it becomes the name of a folder, which may "
            f"have {_LONGEST_NAME}"
        )


def latest_runs(output: Path, name: str | None = None) -> list[dict[str, Any]]:
    """The contents of all run.json below `output`, the newest first, each with its `folder`."""
    found = []
    for folder in run_folders(output, name):
        with suppress(UsageError):  # being removed, or no run of ours
            found.append(read_run(folder))
    return sorted(found, key=lambda facts: str(facts["id"]), reverse=True)


def run_folders(output: Path, name: str | None = None) -> list[Path]:
    """The folders of all runs below `output`, the newest first."""
    if name is not None and "/" in name:
        return []
    pattern = "*" if name is None else escape(name)
    files = (output / RUNS_FOLDER).glob(f"{pattern}/*/run.json")
    folders = (file.parent for file in files if file.parent.name != LATEST)
    return sorted(folders, key=lambda folder: folder.name, reverse=True)


def runs_called(run: str | None, output: Path) -> list[dict[str, Any]]:
    """The contents of run.json of each run that RUN names, the newest first; None is all.

    A run is named by its name, which it may share, its id, or its folder.
    """
    if run is not None and ("/" in run or (Path(run) / "run.json").is_file()):
        return [read_run(Path(run))]
    return [facts for facts in latest_runs(output) if run in (None, facts["name"], facts["id"])]


def read_run(path: Path) -> dict[str, Any]:
    """The contents of a run's run.json, with its `folder`; raises UsageError if it is none."""
    if path.is_symlink():
        path = path.parent / path.readlink()
    file = path / "run.json"
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} is no folder of a run: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{file} is damaged: {error}") from None
    if not isinstance(facts, dict) or "id" not in facts or "name" not in facts:
        raise UsageError(f"{path} is no folder of a run: {file} isn't one of ours")
    return {**facts, "folder": path}


def as_read_again(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `read_run` will give of these: a tuple, say, is a list by then."""
    again: dict[str, Any] = json.loads(_json(dict(facts)))
    return again


def is_unfinished(facts: dict[str, Any]) -> bool:
    """Whether a run may be resumed: it isn't complete, and left a journal."""
    return facts.get("state") != "finished" and (facts["folder"] / JOURNAL).is_file()


def _point_to(folder: Path) -> None:
    """Make `latest` a link to it; at every instant there is the old one or the new one."""
    beside = folder.with_name(f".{LATEST}.{secrets.token_hex(6)}")
    latest = folder.with_name(LATEST)
    with suppress(OSError):  # not every file system has links, and none needs this one
        if latest.is_symlink() or not latest.exists():
            beside.symlink_to(folder.name)
            try:
                beside.replace(latest)
            finally:
                beside.unlink(missing_ok=True)


def _is_run(path: Path) -> bool:
    if path.name == LATEST:
        return False
    # Killed while it began, a run has no run.json yet.
    return (path / "run.json").is_file() or re.fullmatch(_RUN_ID, path.name) is not None


_RUN_ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"


def new_run_id() -> str:
    """`20261123T014800Z-1a2b3c4d`: sorts by time to the microsecond; the end is random."""
    now = _now()
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.randbelow(16**3):03x}"


def _json(data: dict[str, Any], indent: int | None = None) -> bytes:
    # A record may quote anything: an item that isn't plain, a URL with half surrogates in it.
    text = json.dumps(data, ensure_ascii=False, indent=indent, default=str, skipkeys=True)
    return text.encode(errors="backslashreplace")


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror or error}") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _when() -> str:
    return _now().isoformat(timespec="seconds")


def _facts(name: str, run_id: str, facts: dict[str, Any]) -> dict[str, Any]:
    begun = {"id": run_id, "name": name, "started": _when(), "command": _command()}
    return {**begun, **_by_whom(), **facts}


def _command() -> list[str]:
    return [without_password(argument) for argument in sys.argv]


def _by_whom() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "versions": {"crawl-in-order": __version__, "python": platform.python_version()},
    }


def _locked(folder: Path, advice: str) -> IO[bytes]:
    file = (folder / ".lock").open("ab")
    if not lock(file):
        file.close()
        raise LockedError(f"another run of {folder.name} is at work; {advice}")
    return file
