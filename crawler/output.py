"""Where items go: `-o FILE[:FORMAT]`, made from the run's items when the crawl is complete."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crawler.errors import OutputError, UsageError
from crawler.exporters import FORMATS, SUFFIXES, make_exporter
from crawler.publish import check_writable, replacing


@dataclass(frozen=True, slots=True)
class Target:
    """A file to write, or stdout when `path` is None."""

    path: Path | None
    format: str
    place: Path = field(default=Path(), repr=False)
    """The path, absolute, because a spider may change the working directory."""

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
    return Target(path, format_name or SUFFIXES[path.suffix.lower()], path.absolute())


def check_targets(targets: list[Target]) -> None:
    """Raise UsageError, before anything is fetched, if one could not be written."""
    for target in targets:
        if target.path is None:
            continue
        try:
            check_writable(target.path)
        except OSError as error:
            raise UsageError(f"can't write {target}: {error.strerror or error}") from None


def publish_items(lines: Iterable[bytes], target: Target) -> None:
    """Replace the target's file by one with these items, each a line of JSON."""
    exporter = make_exporter(target.format)
    with _errors(target), replacing(target.place) as stream:
        exporter.open(stream)
        for line in lines:
            exporter.write(line)
        exporter.close()


class StandardOutput:
    """Writes items to stdout as they are committed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._exporter = make_exporter(target.format)
        if sys.__stdout__ is None:
            raise UsageError("stdout is closed; -o FILE writes to a file")
        self._stream = open(1, "wb", closefd=False)  # noqa: SIM115
        with _errors(target):
            self._exporter.open(self._stream)

    def write(self, lines: Iterable[bytes]) -> None:
        """Add items, each a line of JSON."""
        with _errors(self._target):
            for line in lines:
                self._exporter.write(line)
            self._stream.flush()

    def close(self) -> None:
        """Complete the document."""
        with _errors(self._target):
            self._exporter.close()
            self._stream.flush()


@contextmanager
def _errors(target: Target) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read our stdout has enough: no error of ours
    except OSError as error:
        raise OutputError(f"can't write {target}: {error.strerror or error}") from error
