"""A run's folder: everything a crawl leaves behind, at `output/runs/NAME/<UTC time>-<short id>/`.

run.json       what was asked for, by whom, and how it stands
items.*        the items committed so far, in order (see crawler.output)
failed.jsonl   a line per page that failed
stats.json     counts and times, at the end
run.log        what happened
"""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any, Self

from crawler.errors import LockedError, OutputError, UsageError
from crawler.escape import printable
from crawler.publish import replacing
from crawler.version import __version__

RUNS_FOLDER = "runs"


class RunFolder:
    """One run's files. Only one run of a name at a time may have its folder open.

    Raises UsageError when the name can't be that of a folder, LockedError when another has it open,
    OutputError when files can't be written.
    """

    def __init__(self, path: Path, name: str, facts: dict[str, Any]) -> None:
        self.path = path
        self.name = name
        self._facts = facts
        self._lock: Any = None
        self._temporary = False
        self._is_closed = False
        self._failed = (path / "failed.jsonl").open("xb")
        self._log = _FileLog(path / "run.log")
        logging.getLogger().addHandler(self._log)

    @classmethod
    def create(cls, output: Path, name: str, **facts: Any) -> Self:
        """A new folder below `output`, under the lock of its name."""
        if name in ("", ".", "..") or "/" in name or not name.isprintable():
            raise UsageError(f"{name!r} is no name for a run: it becomes the name of a folder")
        parent = output.absolute() / RUNS_FOLDER / name  # a spider may change the directory
        try:
            parent.mkdir(parents=True, exist_ok=True)
            lock = _locked(parent)
            run_id = new_run_id()
            path = parent / run_id
            path.mkdir()
            folder = cls(path, name, _facts(name, run_id, facts))
        except OSError as error:
            raise UsageError(
                f"can't write {parent}: {error.strerror or error}; --output-dir names another place"
            ) from None
        folder._lock = lock
        folder.note(state="running")
        return folder

    @classmethod
    def temporary(cls, name: str, **facts: Any) -> Self:
        """A folder that is gone when it is closed, for runs that publish nothing."""
        path = Path(tempfile.mkdtemp(prefix="crawl-"))
        folder = cls(path, name, _facts(name, new_run_id(), facts))
        folder._temporary = True
        return folder

    @property
    def run_id(self) -> str:
        """`<UTC time>-<short id>`."""
        run_id: str = self._facts["id"]
        return run_id

    def note(self, **facts: Any) -> None:
        """Add to run.json, which is replaced whole."""
        self._facts.update(facts)
        self._write_json("run.json", self._facts)

    def fail(self, record: dict[str, Any]) -> None:
        """Add a line to failed.jsonl."""
        with _errors_of(self.path / "failed.jsonl"):
            self._failed.write(_json(record) + b"\n")

    def flush(self) -> None:
        """Let others see what is written so far."""
        with _errors_of(self.path / "failed.jsonl"):
            self._failed.flush()

    def close(self, state: str, stats: dict[str, Any]) -> None:
        """Write the statistics and how it ended, and let go of the lock."""
        self._is_closed = True
        try:
            with _errors_of(self.path / "failed.jsonl"):
                self._failed.close()
            self._write_json("stats.json", stats)
            self.note(state=state, finished=_now().isoformat(timespec="seconds"))
        finally:
            logging.getLogger().removeHandler(self._log)
            self._log.close()
            if self._lock is not None:
                self._lock.release()
            if self._temporary:
                shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A run that ends without saying how has failed."""
        if not self._is_closed:
            self.close("failed", {})

    def remove_older(self, keep: int) -> None:
        """Remove all but the last `keep` runs of this name, never this one."""
        if self._temporary:
            return
        runs = sorted(p for p in self.path.parent.iterdir() if (p / "run.json").is_file())
        others = [path for path in runs if path != self.path]
        for path in others[: max(0, len(others) - keep + 1)]:
            shutil.rmtree(path, ignore_errors=True)

    def _write_json(self, name: str, data: dict[str, Any]) -> None:
        path = self.path / name
        with _errors_of(path), replacing(path) as stream:
            stream.write(_json(data, indent=2) + b"\n")


def latest_runs(output: Path, name: str | None = None) -> list[dict[str, Any]]:
    """The contents of all run.json below `output`, the newest first, each with its `folder`."""
    found = []
    pattern = "*" if name is None else escape(name)
    for file in (output / RUNS_FOLDER).glob(f"{pattern}/*/run.json"):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # being removed, or no run of ours
        if isinstance(facts, dict) and "id" in facts:
            found.append({**facts, "folder": file.parent})
    return sorted(found, key=lambda facts: str(facts["id"]), reverse=True)


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


def _facts(name: str, run_id: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": run_id,
        "name": name,
        "started": _now().isoformat(timespec="seconds"),
        "command": sys.argv,
        "pid": os.getpid(),
        "versions": {"crawl-in-order": __version__, "python": platform.python_version()},
        **facts,
    }


def _locked(folder: Path) -> Any:
    # flock, so that the lock of a killed run is free at once. Imported here: 40 ms.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(
            f"another run of {folder.name} is at work; wait for it, or give this one a --name"
        ) from None
    return lock


class _FileLog(logging.FileHandler):
    """One line per event: what a page or a server says can't forge another."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def close(self) -> None:
        with suppress(OSError):  # a full disk; what matters says so itself
            super().close()

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(printable(line) for line in super().format(record).splitlines())
