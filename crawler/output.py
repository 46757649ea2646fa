"""Where items go: `-o FILE[:FORMAT]`, made from the run's items when the crawl is complete.

FILE may be a URL, `s3://bucket/posts.json`: then it is made here and uploaded (`crawler.remote`).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from crawler.errors import OutputError, UsageError
from crawler.exporters import FORMATS, SUFFIXES, TABLES, Exporter, make_exporter
from crawler.exporters.compression import SUFFIXES as COMPRESSIONS
from crawler.exporters.compression import check_compression, compressed
from crawler.exporters.table import Table
from crawler.newest import Lines, last_of_each
from crawler.publish import check_writable, replacing
from crawler.remote import check_remote, check_url, file_name, is_url, place_below, upload
from crawler.settings import Settings


@dataclass(frozen=True, slots=True)
class Target:
    """A file to write; stdout when it has neither `path` nor `url`."""

    path: Path | None
    format: str
    place: Path = field(default=Path(), repr=False)
    """The path, absolute, because a spider may change the working directory."""
    compression: str = ""
    """`.gz`, `.zst` or nothing."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the exporter."""
    key: str | None = None
    """A field; of several items that have one value there, the last one is written."""
    table: str | None = None
    """A field; items that differ there have keys of their own, and in SQLite tables."""
    url: str | None = None
    """A place elsewhere."""

    @property
    def is_stdout(self) -> bool:
        """Whether it is neither a file nor elsewhere."""
        return self.path is None and self.url is None

    @property
    def is_live(self) -> bool:
        """Whether it gets items as they come: stdout, if nobody needs to know all of them."""
        return self.is_stdout and self.format not in TABLES and self.key is None

    def make_exporter(self) -> Exporter:
        """Raises UsageError when a package is missing."""
        return make_exporter(self.format, **self.options)

    def __str__(self) -> str:
        return self.url or ("stdout" if self.path is None else str(self.path))


def parse_target(
    text: str,
    names: Mapping[str, str] | None = None,
    *,
    csv_safe: bool = False,
    csv_bom: bool = False,
    key: str | None = None,
    table: str | None = None,
) -> Target:
    """`posts.json`, `posts.csv.gz`, `posts.txt:jsonl`, `{name}-{date}.csv`, `s3://...`, `-`.

    `names` are what may stand in braces. Raises UsageError.
    """
    check_url(text)
    where, colon, format_name = text.rpartition(":")
    if not colon or not format_name.isidentifier():  # a colon in the file's own name
        where, format_name = text, ""
    if not where:
        raise UsageError(f"-o {text}: a file name is missing; write FILE[:FORMAT]")
    formats = ", ".join(FORMATS)
    if format_name and format_name not in FORMATS:
        raise UsageError(f"-o {text}: unknown format {format_name!r}; there are {formats}")
    path, url, compression = None, None, ""
    if where != "-":
        where = _filled(where, names or {}, text)
        url = where if is_url(where) else None
        path = None if url else Path(where).expanduser()
        file = path or file_name(where)
        if file.suffix.lower() in COMPRESSIONS:
            compression = file.suffix.lower()
        inner = file.with_suffix("") if compression else file
        if not format_name and inner.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"-o {text}: {inner.suffix or 'no suffix'} tells no format; "
                f"write {text}:FORMAT with one of {formats}"
            )
        format_name = format_name or SUFFIXES[inner.suffix.lower()]
    format_name = format_name or "json"
    options: dict[str, Any] = {}
    if format_name == "csv":
        options = {"safe": csv_safe, "bom": csv_bom}
    elif format_name == "sqlite":
        options = {"key": key, "table": table}
    place = Path() if path is None else path.absolute()
    return Target(path, format_name, place, compression, options, key, table, url)


def target_options(settings: Settings) -> dict[str, Any]:
    """What `parse_target` takes from the settings."""
    return {name: getattr(settings, name) for name in ("csv_safe", "csv_bom", "key", "table")}


def names_of(run_name: str, run_id: str) -> dict[str, str]:
    """What may stand in braces in a run's targets; the time is that of its begin, in UTC."""
    date = f"{run_id[:4]}-{run_id[4:6]}-{run_id[6:8]}"
    return {"name": run_name, "date": date, "time": run_id[9:15], "run": run_id}


def literal(path: Path) -> str:
    """A path as a target that means just that."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _filled(where: str, names: Mapping[str, str], text: str) -> str:
    def fill(match: re.Match[str]) -> str:
        found = match[0]
        if found in ("{{", "}}"):
            return found[0]
        if found[1:-1] in names:
            return names[found[1:-1]]
        known = ", ".join(f"{{{name}}}" for name in names)
        raise UsageError(
            f"-o {text}: {found} stands for nothing; there are {known}; write {{{{ for a brace"
        )

    return re.sub(r"\{\{|\}\}|\{[^{}]*\}|[{}]", fill, where)


def check_targets(targets: list[Target]) -> None:
    """Raise UsageError, before anything is fetched, if one can't be written or made.

    Or if two are the same: the second one would replace the first.
    """
    known: dict[str, Target] = {}
    for target in targets:
        same = known.setdefault(_identity(target), target)
        if same is not target:
            also = "" if str(same) == str(target) else f", which is also {same}"
            raise UsageError(f"two outputs would go to {target}{also}; give each a file of its own")
    for target in targets:
        target.make_exporter()
        check_compression(target.compression)
        if target.url is not None:
            check_remote(target.url)
        if target.path is None:
            continue
        try:
            check_writable(target.path)
        except OSError as error:
            raise UsageError(f"can't write {target}: {error.strerror or error}") from None


def _identity(target: Target) -> str:
    """What two targets share if they are the same: links are followed."""
    return target.url or ("-" if target.path is None else os.path.realpath(target.place))


def publish_each(targets: Iterable[Target], publish: Callable[[Target], None]) -> None:
    """Publish to all of them; one that can't be written keeps no other from it.

    Raises the first OutputError in the end, with the others as its notes.
    """
    problems = []
    for target in targets:
        try:
            publish(target)
        except OutputError as error:
            problems.append(error)
    if problems:
        for other in problems[1:]:
            problems[0].add_note(str(other))
        raise problems[0]


def publish_items(
    lines: Lines, target: Target, made_in: Path | None = None, *, columns: Sequence[str] = ()
) -> None:
    """Replace the target's file by one with these items, or write them to stdout.

    What goes elsewhere is made below `made_in` and uploaded; it stays there if that fails, and the
    error says where. `lines` gives the items from the beginning, each a line of JSON; it is called
    again for a format that must know all items before it writes the first. A table has `columns`
    first, also if there are no items.
    """
    if target.url is not None:
        made_in = made_in or Path(tempfile.mkdtemp())
        _publish_elsewhere(lines, target, target.url, made_in, columns)
        return
    exporter = target.make_exporter()
    with _errors(target):
        wanted = last_of_each(lines, target.key, target.table)
        if isinstance(exporter, Table):
            exporter.expect(columns)
            for line in wanted():
                exporter.survey(line)
        with _opened(target) as file, compressed(file, target.compression) as stream:
            exporter.open(stream)
            for line in wanted():
                exporter.write(line)
            exporter.close()


def _publish_elsewhere(
    lines: Lines, target: Target, url: str, made_in: Path, columns: Sequence[str]
) -> None:
    file = place_below(made_in, url)
    with _errors(target):
        file.parent.mkdir(parents=True, exist_ok=True)
    local = replace(target, path=file, place=file.absolute(), url=None)
    publish_items(lines, local, columns=columns)
    try:
        upload(file, url)
    except OutputError as error:
        raise OutputError(f"{error}; the file is whole and stays at {file}") from None
    file.unlink()
    with suppress(OSError):
        for folder in list(file.parents)[: len(file.parts) - len(made_in.parts)]:
            folder.rmdir()  # as far as they are empty


class StandardOutput:
    """Writes items to stdout as they are committed, in a format that is no table."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._exporter = target.make_exporter()
        self._stream = _stdout()
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


def _opened(target: Target) -> AbstractContextManager[BinaryIO]:
    return _stdout() if target.path is None else replacing(target.place)


def _stdout() -> BinaryIO:
    if sys.__stdout__ is None:
        raise UsageError("stdout is closed; -o FILE writes to a file")
    return open(1, "wb", closefd=False)


@contextmanager
def _errors(target: Target) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read our stdout has enough: no error of ours
    except OSError as error:
        raise OutputError(f"can't write {target}: {error.strerror or error}") from error
