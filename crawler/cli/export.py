"""`crawl export`: the items of a run, or of a file, in another format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.flags import flag_layers, named, output_options, place

if TYPE_CHECKING:
    from crawler.result import Item

_SUFFIXES = (".json", ".jsonl", ".ndjson", ".jl")
_EPILOG = """\b
Examples:
  crawl export posts -o posts.csv
  crawl export posts -o - --where 'votes > `100`' --sort date
  crawl export output/posts.json -o posts.parquet --fields id,title,votes
"""


@click.command(short_help="Items of a run or file in another format.", epilog=_EPILOG)
@click.argument("source", metavar="RUN|FILE", callback=named)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    required=True,
    metavar="FILE[:FORMAT]",
    help="Where items go, as of crawl run; repeatable.",
)
@click.option("--fields", metavar="A,B,C", help="Only these, in this order; null where missing.")
@click.option("--where", metavar="EXPR", help="Only items for which this JMESPath is true.")
@click.option("--sort", metavar="FIELD", help="By this field; items wait in memory.")
@click.option(
    "--output-dir", callback=place, default="output", help="Where to look for runs (output)."
)
@output_options
def export(
    source: str,
    outputs: tuple[str, ...],
    fields: str | None,
    where: str | None,
    sort: str | None,
    output_dir: Path,
    **flags: str | bool | None,
) -> None:
    """Write the items of RUN (a run's name, id or folder) or FILE (.json, .jsonl) to other files.

    Of a run that is at work, or came to no end, the items that are there by now.
    """
    from crawler.cli.console import say
    from crawler.cli.session import broken_pipe_is_the_end
    from crawler.output import check_targets, parse_target, publish_items, target_options
    from crawler.settings import from_environment, from_file, resolve

    settings = resolve([from_file(Path("crawl.toml")), *from_environment(), *flag_layers(flags)])
    found = _source(source, output_dir)
    targets = [parse_target(text, found.names, **target_options(settings)) for text in outputs]
    choice = _Choice(found.items, fields, where, sort, settings.key)
    check_targets(targets)
    with broken_pipe_is_the_end():
        for target in targets:
            # The key is judged here: an item has all of its fields still.
            publish_items(choice.lines, replace(target, key=None))
            if not target.is_stdout:
                say(f"-> {target}")


@dataclass(frozen=True, slots=True)
class _Source:
    """Where items come from; `items` begins anew each time, and gives the same."""

    items: Callable[[], Iterator[Item]]
    names: dict[str, str]
    """What may stand in braces in a target."""


def _source(source: str, output: Path) -> _Source:
    from datetime import UTC, datetime

    from crawler.errors import UsageError
    from crawler.output import names_of
    from crawler.run_folder import runs_called

    path = Path(source)
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        names = names_of(path.stem, f"{when:%Y%m%dT%H%M%SZ}")
        del names["run"]
        _whole_lines(path)  # raises if it can't be read
        read = _of_array if path.suffix.lower() == ".json" else _of_lines
        return _Source(partial(read, path), names)
    found = runs_called(source, output)
    if not found:
        raise UsageError(
            f"there is no run {source} in {output}, and no file of that name that ends with "
            f"{', '.join(_SUFFIXES)}"
        )
    facts = found[0]
    items: Path = facts["folder"] / "items.jsonl"
    read_run = partial(_of_run, items, _whole_lines(items))
    return _Source(read_run, names_of(facts["name"], str(facts["id"])))


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
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.strip(b" \t\r\n").removeprefix(b"\xef\xbb\xbf")
            if text:
                yield _item(_value(text, f"{path}, line {number}"), f"{path}, line {number}")


def _of_array(path: Path) -> Iterator[Item]:
    from crawler.errors import UsageError

    values = _value(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), str(path))
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


class _Choice:
    """Which items, in what order, the last of each key, and which fields. Raises UsageError."""

    def __init__(
        self,
        items: Callable[[], Iterator[Item]],
        fields: str | None,
        where: str | None,
        sort: str | None,
        key: str | None,
    ) -> None:
        self._items = items
        self._fields = [name.strip() for name in fields.split(",")] if fields else []
        self._where = where
        self._sort = sort
        self._key = key
        self._is_wanted = _compiled(where) if where is not None else None
        self._sorted: list[bytes] | None = None
        self._last: Callable[[], Iterable[bytes]] | None = None

    def lines(self) -> Iterable[bytes]:
        """Each item as a line of JSON; the same each time."""
        from crawler.lines import item_of, line_of
        from crawler.newest import last_of_each

        if self._key is None:
            return self._ordered(self._cut)
        if self._last is None:
            self._last = last_of_each(partial(self._ordered, lambda item: item), self._key)
        lines = self._last()
        return (line_of(self._cut(item_of(line))) for line in lines) if self._fields else lines

    def _ordered(self, cut: Callable[[Item], Item]) -> Iterable[bytes]:
        """All items that are wanted, with what `cut` leaves of them."""
        from crawler.lines import line_of

        if self._sort is None:
            return (line_of(cut(item)) for item in self._chosen())
        if self._sorted is None:
            keyed = [(_order(item.get(self._sort)), line_of(cut(item))) for item in self._chosen()]
            keyed.sort(key=lambda pair: pair[0])
            self._sorted = [line for _, line in keyed]
        return self._sorted

    def _chosen(self) -> Iterator[Item]:
        from jmespath.exceptions import JMESPathError

        from crawler.errors import UsageError

        if self._is_wanted is None:
            yield from self._items()
            return
        for number, item in enumerate(self._items(), 1):
            try:
                is_wanted = _is_true(self._is_wanted(item))
            except JMESPathError as error:
                raise UsageError(f"--where {self._where}: item {number}: {error}") from None
            if is_wanted:
                yield item

    def _cut(self, item: Item) -> Item:
        return {name: item.get(name) for name in self._fields} if self._fields else item


def _compiled(expression: str) -> Callable[[Item], Any]:
    import jmespath
    from jmespath.exceptions import JMESPathError

    from crawler.errors import UsageError

    try:
        search: Callable[[Item], Any] = jmespath.compile(expression).search
    except JMESPathError as error:
        raise UsageError(f"--where: {error}") from None
    return search


def _is_true(value: Any) -> bool:
    """As JMESPath has it: 0 is true."""
    return bool(value) or (isinstance(value, (int, float)) and value is not False)


def _order(value: Any) -> tuple[int, Any]:
    """Numbers, then booleans, text, and the rest as JSON text; at the end what is missing."""
    if value is None:
        return 4, 0
    if isinstance(value, bool):
        return 1, value
    if isinstance(value, (int, float)):
        return 0, value
    if isinstance(value, str):
        return 2, value
    return 3, json.dumps(value)
