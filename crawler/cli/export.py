"""`crawl export`: the items of a run, or of a file, in another format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.flags import flag_layers, named, output_options, place

if TYPE_CHECKING:
    from crawler.cli.where import Where
    from crawler.output import Target
    from crawler.result import Item

_EPILOG = """\b
Examples:
  crawl export posts -o posts.csv
  crawl export posts -o - --where 'stats_vote > `100`' --sort author
  crawl export output/posts.json -o posts.parquet --fields id,author,stats_vote
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
    """Write the items of RUN (a run's name, id or folder) or FILE to other files.

    FILE is .json or .jsonl, also with .gz or .zst behind it.

    Of a run that is at work, or came to no end, the items that are there by now.
    """
    from crawler.cli.console import say
    from crawler.cli.session import broken_pipe_is_the_end
    from crawler.cli.source import find_source
    from crawler.output import (
        check_targets,
        parse_target,
        publish_each,
        publish_items,
        target_options,
    )
    from crawler.settings import from_environment, from_file, resolve

    settings = resolve([from_file(Path("crawl.toml")), *from_environment(), *flag_layers(flags)])
    found = find_source(source, output_dir)
    targets = [parse_target(text, found.names, **target_options(settings)) for text in outputs]
    choice = _Choice(found.items, fields, where, sort, settings.key, settings.table)
    _check_table(settings.table, choice.fields, targets)
    check_targets(targets)

    def write(target: Target) -> None:
        # The key is judged here: an item has all of its fields still.
        publish_items(choice.lines, replace(target, key=None), columns=choice.fields)
        if not target.is_stdout:
            say(f"-> {target}, {choice.counted()}")

    with broken_pipe_is_the_end():
        publish_each(targets, write)


def _check_table(table: str | None, fields: list[str], targets: list[Target]) -> None:
    """What names an item's table must be there still."""
    from crawler.errors import UsageError

    is_left_out = table is not None and fields and table not in fields
    if is_left_out and any(target.format == "sqlite" for target in targets):
        raise UsageError(f"--table {table}: --fields leaves it out; SQLite's tables need it")


class _Choice:
    """Which items, in what order, the last of each key, and which fields. Raises UsageError."""

    def __init__(
        self,
        items: Callable[[], Iterator[Item]],
        fields: str | None,
        where: str | None,
        sort: str | None,
        key: str | None,
        table: str | None,
    ) -> None:
        self._items = items
        self.fields = _names(fields)
        self._sort = sort
        self._key = key
        self._table = table
        self._where = _where(where)
        self._sorted: list[bytes] | None = None
        self._last: Callable[[], Iterable[bytes]] | None = None
        self._all = self._written = 0
        self._is_checked = False

    def lines(self) -> Iterator[bytes]:
        """Each item as a line of JSON; the same each time."""
        self._written = 0
        for line in self._lines():
            self._written += 1
            yield line

    def counted(self) -> str:
        """How many items there were when `lines` was read last: `3 of 1,250 items`."""
        from crawler.wording import plural

        some = "" if self._written == self._all else f"{self._written:,} of "
        return some + plural(self._all, "item", shown=f"{self._all:,}")

    def _lines(self) -> Iterable[bytes]:
        from crawler.lines import item_of, line_of
        from crawler.newest import last_of_each

        if self._key is None:
            return self._ordered(self._cut)
        if self._last is None:
            items = partial(self._ordered, lambda item: item)
            self._last = last_of_each(items, self._key, self._table)
        lines = self._last()
        return (line_of(self._cut(item_of(line))) for line in lines) if self.fields else lines

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
        items = self._counted()
        return items if self._where is None else self._where.chosen(items)

    def _counted(self) -> Iterator[Item]:
        """All items; once they are counted, fields that none of them has are told."""
        from crawler.asked_fields import AskedFields

        asked = {} if self._sort is None else {self._sort: "--sort"}
        fields = AskedFields({**dict.fromkeys(self.fields, "--fields"), **asked})
        self._all = 0
        for item in self._items():
            self._all += 1
            fields.see(item)
            yield item
        if not self._is_checked:
            fields.warn()
        self._is_checked = True

    def _cut(self, item: Item) -> Item:
        return {name: item.get(name) for name in self.fields} if self.fields else item


def _names(fields: str | None) -> list[str]:
    from crawler.errors import UsageError

    names = [] if fields is None else [name.strip() for name in fields.split(",")]
    if "" in names:
        raise UsageError(f"--fields {fields!r}: a name is missing; write A,B,C")
    return names


def _where(expression: str | None) -> Where | None:
    if expression is None:
        return None
    from crawler.cli.where import Where  # jmespath takes a while to load

    return Where(expression)


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
