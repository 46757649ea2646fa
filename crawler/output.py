"""Where items go: `-o FILE[:FORMAT]`, each a part in the run folder until it is published."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from crawler.errors import OutputError, UsageError
from crawler.exporters import FORMATS, SUFFIXES, make_exporter
from crawler.publish import check_writable, publish
from crawler.result import Item


@dataclass(frozen=True, slots=True)
class Target:
    """A file to write, or stdout when `path` is None."""

    path: Path | None
    format: str

    def __str__(self) -> str:
        return "stdout" if self.path is None else str(self.path)


def parse_target(text: str) -> Target:
    """`posts.json`, `posts.txt:jsonl`, `-`, `-:jsonl`; raises UsageError."""
    where, colon, format_name = text.rpartition(":")
    if not colon or not format_name.isidentifier():  # a colon in the file's own name
        where, format_name = text, ""
    if not where:
        raise UsageError(f"-o {text}: a file name is missing; write FILE[:FORMAT]")
    formats = ", ".join(FORMATS)
    if format_name and format_name not in FORMATS:
        raise UsageError(f"-o {text}: unknown format {format_name!r}; there are {formats}")
    if where == "-":
        return Target(None, format_name or "json")
    path = Path(where).expanduser()
    if not format_name and path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"-o {text}: {path.suffix or 'no suffix'} tells no format; "
            f"write {text}:FORMAT with one of {formats}"
        )
    return Target(path, format_name or SUFFIXES[path.suffix.lower()])


def check_targets(targets: list[Target]) -> None:
    """Raise UsageError, before anything is fetched, if one could not be written."""
    for target in targets:
        if target.path is None:
            continue
        try:
            check_writable(target.path)
        except OSError as error:
            raise UsageError(f"can't write {target}: {error.strerror or error}") from None


class Output:
    """Writes items to one target. A file gets them when it is published, stdout as they come."""

    def __init__(self, target: Target, folder: Path, number: int = 1) -> None:
        self.target = target
        self._exporter = make_exporter(target.format)
        # Absolute, because a spider may change the working directory.
        self._path = target.path.absolute() if target.path is not None else Path()
        self._stream: BinaryIO
        self.part: Path | None = None
        with self._errors():
            if target.path is None:
                if sys.__stdout__ is None:
                    raise UsageError("stdout is closed; -o FILE writes to a file")
                self._stream = open(1, "wb", closefd=False)  # noqa: SIM115
            else:
                suffix = "" if number == 1 else f"-{number}"
                self.part = folder / f"items{suffix}.{target.format}"
                self._stream = self.part.open("xb")
            self._exporter.open(self._stream)

    def write(self, items: list[Item]) -> None:
        """Add the items of one page."""
        with self._errors():
            for item in items:
                self._exporter.write(item)
            if self.part is None:
                self._stream.flush()

    def flush(self) -> None:
        """Let others see what is written so far."""
        with self._errors():
            self._stream.flush()

    def close(self) -> None:
        """Complete the document."""
        with self._errors():
            self._exporter.close()
            self._stream.flush()
            if self.part is not None:
                self._stream.close()

    def publish(self) -> None:
        """Put the part, complete by now, in the place of the target."""
        if self.target.path is not None and self.part is not None:
            with self._errors(self.target):
                publish(self.part, self._path)

    @contextmanager
    def _errors(self, where: Target | None = None) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise  # whoever read our stdout has enough: no error of ours
        except OSError as error:
            place = where or self.part or self.target
            raise OutputError(f"can't write {place}: {error.strerror or error}") from error
