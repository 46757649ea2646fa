"""Which pages: what `--pages` and `--urls` mean, as numbers and URLs. Pure text rules."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from crawler.request import Request

FORMS = "4 (the first four), 2-9, 1,3,5 or until-empty"
MAX_PAGE = 10**12


@dataclass(frozen=True, slots=True)
class Pages:
    """Page numbers, in the order they are crawled; endless when `until_empty`."""

    ranges: tuple[range, ...] = ()
    until_empty: bool = False

    def __iter__(self) -> Iterator[int]:
        return itertools.count(1) if self.until_empty else itertools.chain(*self.ranges)

    def __str__(self) -> str:
        if self.until_empty:
            return "until-empty"
        if len(self.ranges) == 1:
            return f"{self.ranges[0][0]}-{self.ranges[0][-1]}"  # a lone 5 would mean 1 to 5
        return ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in self.ranges)

    def count(self) -> int | None:
        """How many pages, or None when only the site knows."""
        return None if self.until_empty else sum(map(len, self.ranges))


def parse_pages(text: str | int) -> Pages:
    """`4` -> 1 to 4; `2-9` -> 2 to 9; `1,3,5` and `1,4-6` -> those; `until-empty` -> 1, 2, 3 ...

    Raises ValueError that says what is wrong.
    """
    text = str(text).strip()
    if text == "until-empty":
        return Pages(until_empty=True)
    if re.fullmatch(r"[0-9]+", text):
        if int(text) == 0:
            raise ValueError("0 pages is nothing to do; pages count from 1")
        text = f"1-{text}"
    return Pages(tuple(_parse_range(part.strip(), text) for part in text.split(",")))


def _parse_range(part: str, whole: str) -> range:
    match = re.fullmatch(r"([0-9]+)(?:\s*-\s*([0-9]+))?", part)
    if match is None:
        raise ValueError(f"{whole!r} names no pages; write {FORMS}")
    first = int(match[1])
    last = int(match[2] or first)
    if first == 0:
        raise ValueError("pages count from 1, there is no page 0")
    if last < first:
        raise ValueError(f"{part!r} runs backwards; write {last}-{first}")
    if last > MAX_PAGE:
        raise ValueError(f"{last} is too large for the number of a page")
    return range(first, last + 1)


def paginate(
    template: str, pages: Iterable[int], arguments: Mapping[str, object] | None = None
) -> Iterator[Request]:
    """A Request per page number; `{page}` and the names of `arguments` are filled in."""
    for page in pages:
        url = template.format_map({**(arguments or {}), "page": page})
        yield Request(url, meta={"page": page})


_BRACES = re.compile(r"\{([0-9]{1,18})\.\.([0-9]{1,18})\}|\{([^{},]*(?:,[^{},]*)+)\}")
_MAX_BRACES = 20


def expand(pattern: str) -> Iterator[str]:
    """A URL with shell-like braces as URLs: `{0..3}`, `{00..10}` and `{a,b}`; several multiply.

    Raises ValueError when there are too many of them.
    """
    if sum(1 for _ in _BRACES.finditer(pattern)) > _MAX_BRACES:
        raise ValueError(f"more than {_MAX_BRACES} groups of braces in one URL")
    return _expanded(pattern)


def _expanded(pattern: str) -> Iterator[str]:
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    head, tail = pattern[: match.start()], pattern[match.end() :]
    for choice in _choices(match):
        for rest in _expanded(tail):
            yield head + choice + rest


def count_expanded(pattern: str) -> int:
    """How many URLs `expand` makes of it, without making them."""
    return math.prod(map(_count_choices, _BRACES.finditer(pattern)))


def _count_choices(match: re.Match[str]) -> int:
    first, last, words = match.groups()
    return words.count(",") + 1 if words is not None else abs(int(last) - int(first)) + 1


def _choices(match: re.Match[str]) -> Iterator[str]:
    first, last, words = match.groups()
    if words is not None:
        yield from words.split(",")
        return
    width = len(first) if first.startswith("0") else 0
    step = 1 if int(last) >= int(first) else -1
    for number in range(int(first), int(last) + step, step):
        yield str(number).zfill(width)


def urls_in(lines: Iterable[str]) -> Iterator[str]:
    """One URL a line; blank lines and lines that start with # are skipped."""
    for line in lines:
        url = line.strip()
        if url and not url.startswith("#"):
            yield url
