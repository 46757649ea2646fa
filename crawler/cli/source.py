"""Where `crawl export` takes items from: a run's folder, or a file that somebody wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.result import Item

_SUFFIXES = (".json", ".jsonl", ".ndjson", ".jl")


@dataclass(frozen=True, slots=True)
class Source:
    """Where items come from; `items` begins anew each time, and gives the same."""

    items: Callable[[], Iterator[Item]]
    names: dict[str, str]
    """What may stand in braces in a target."""


def find_source(source: str, output: Path) -> Source:
    """A run by its name, id or folder, or a file; raises UsageError."""
    from datetime import UTC, datetime

    from crawler.errors import UsageError
    from crawler.exporters.compression import without_compression
    from crawler.output import names_of
    from crawler.run_folder import runs_called

    path = Path(source)
    inner = without_compression(path)
    if path.is_file() and inner.suffix.lower() in _SUFFIXES:
        when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        names = names_of(inner.stem, f"{when:%Y%m%dT%H%M%SZ}")
        del names["run"]
        _whole_lines(path)  # raises if it can't be read
        read = _of_array if inner.suffix.lower() == ".json" else _of_lines
        return Source(partial(read, path), names)
    is_other = path.exists() and not path.is_dir()
    found = [] if is_other and "/" in source else runs_called(source, output)
    if not found:
        known = f"{', '.join(_SUFFIXES)}, or with one of these and .gz or .zst"
        if is_other:
            raise UsageError(f"{source} is no file of items: their names end with {known}")
        raise UsageError(
            f"there is no run {source} in {output}, and no file of that name that ends with {known}"
        )
    facts = found[0]
    items: Path = facts["folder"] / "items.jsonl"
    read_run = partial(_of_run, items, _whole_lines(items))
    return Source(read_run, names_of(facts["name"], str(facts["id"])))


def _whole_lines(path: Path) -> int:
    """The bytes of a file up to the end of its last whole line."""
    from crawler.errors import UsageError

    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            while size:
                begin = max(0, size - 65536)
                file.seek(begin)
                end = file.read(size - begin).rfind(b"\n")
                if end >= 0:
                    return begin + end + 1
                size = begin
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from None
    return 0


def _of_run(path: Path, size: int) -> Iterator[Item]:
    from crawler.lines import item_of
    from crawler.part import lines_up_to

    return map(item_of, lines_up_to(path, size))


def _of_lines(path: Path) -> Iterator[Item]:
    from crawler.exporters.compression import decompressed

    with decompressed(path) as file:
        for number, line in enumerate(file, 1):
            text = line.strip(b" \t\r\n").removeprefix(b"\xef\xbb\xbf")
            if text:
                yield _item(_value(text, f"{path}, line {number}"), f"{path}, line {number}")


def _of_array(path: Path) -> Iterator[Item]:
    from crawler.errors import UsageError
    from crawler.exporters.compression import decompressed

    with decompressed(path) as file:
        text = file.read()
    values = _value(text.removeprefix(b"\xef\xbb\xbf"), str(path))
    if not isinstance(values, list):
        raise UsageError(f"{path} is no list of items")
    for number, value in enumerate(values, 1):
        yield _item(value, f"{path}, item {number}")


def _value(text: bytes, where: str) -> Any:
    from crawler.errors import UsageError

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: {error}") from None


def _item(value: object, where: str) -> Item:
    """A value that somebody else wrote as the items of a crawl are."""
    from crawler.errors import ItemError, UsageError
    from crawler.result import plain

    if not isinstance(value, dict):
        raise UsageError(f"{where} is no item: {json.dumps(value)[:40]}")
    try:
        item: Item = plain(value)
    except ItemError as error:
        raise UsageError(f"{where}: {error}") from None
    return item
