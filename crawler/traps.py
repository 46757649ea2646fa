"""Keeps a crawl of an endless site from running for ever: calendars, session ids, `?page=N` ...

    a new link --> catches(its URL, its depth) --> Families(what its page gave) --> the queue
                               |                              |
                   trap-depth, trap-path,               trap-variants
                        trap-repeats

The first look is at the link alone, so it may be taken at any time. The second counts, so it is
taken when pages are committed, in the order of their ranks: timing can't change what it finds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

from crawler.result import Item

MAX_DEPTH = 10_000
"""Links from a start page: five times a list of 2,000 pages that are chained by "next"."""
MAX_SEGMENTS = 20
"""Of a path."""
MAX_SAME_SEGMENTS = 4
"""How often one segment may stand in a path."""
MAX_FRUITLESS = 5_000
"""Pages of one family in a row that give nothing new and lead to more of the same."""
_PATIENCE_WITHOUT_ITEMS = 20
"""So many times as many, while no page at all has given an item: then their lack tells little."""

ADVICE = {
    "trap-depth": f"it is more than {MAX_DEPTH:,} links from the start; --max-depth sets a limit",
    "trap-path": f"its path has more than {MAX_SEGMENTS} segments; --no-traps follows it",
    "trap-repeats": "its path repeats itself; --no-traps follows it",
    "trap-variants": (
        "thousands of pages whose URLs differ only in numbers or the query gave nothing new; if "
        "they carry a session id, name it with --drop-parameter; --no-traps follows it"
    ),
}
"""By reason, why a link was left out and what to do if it should not be."""

_FAMILIES = 1_024
"""Counted at a time. Of more, the half with the lowest counts is forgotten: a real site ends, and
then its traps have the table for themselves."""
_ITEMS = 1_024
"""Remembered at a time, the latest."""

_CHARACTERS = 4_000
"""Of an item, in which numbers are looked for: megabytes of them would take a tenth of a second."""

_VARYING = re.compile(r"(?:/[0-9._-]++(?=/|$))++|[0-9]++|;[^/]*+")
_NUMBER = re.compile(r"[0-9]{1,15}+")


def catches(url: str, depth: int | None) -> str | None:
    """The rule that keeps a link out by its URL or its depth; None if none does. Never raises.

    Takes time in proportion to the length of the URL. A depth of None isn't judged.
    """
    if depth is not None and depth > MAX_DEPTH:
        return "trap-depth"
    if url.count("/") < 5:  # two segments, and the slashes of "https://host/"
        return None
    segments = _host_and_path(url)[1].strip("/").split("/")
    if len(segments) > MAX_SEGMENTS:
        return "trap-path"
    if len(segments) - len(set(segments)) < 2:  # nothing is there three times
        return None
    return "trap-repeats" if _repeats(segments) else None


def _host_and_path(url: str) -> tuple[str, str]:
    """An absolute URL without its query, cut before the path."""
    text = url.partition("?")[0].partition("#")[0]
    start = text.find("/", len("http://x"))
    return (text, "") if start < 0 else (text[:start], text[start:])


def _repeats(segments: Sequence[str]) -> bool:
    """Whether some segments stand there three times in a row, or one too often.

    Numbers may: `/1/1/1` is a journal's first page, `/2001/01/01/01` an hour.
    """
    words = [segment for segment in segments if segment and not segment.isdigit()]
    if any(words.count(word) > MAX_SAME_SEGMENTS for word in words):
        return True
    for period in range(1, len(segments) // 3 + 1):
        alike = 0
        for place in range(period, len(segments)):
            alike = alike + 1 if segments[place] == segments[place - period] else 0
            if alike >= 2 * period and set(segments[place - period + 1 : place + 1]) & set(words):
                return True
    return False


def family(url: str) -> int:
    """A number that URLs share if they differ only in numbers of the path, and the query.

    `/calendar/2026/11/` and `/calendar/2026/11/05` are one family, so are all of `viewtopic.php`.
    """
    host, path = _host_and_path(url)
    text = host + _VARYING.sub("0", path.rstrip("/"))
    return crc32(text.encode("utf-8", "surrogatepass"))


class Families:
    """Which families of pages go on for ever without giving anything new.

    New is an item that the family has not given before, or a new link to another family that may
    lead somewhere. Items are compared without their page's URL, the numbers that stand in it, and
    those one above or below: `Page 17` on `?page=17` is nothing new after `Page 16` on `?page=16`.

    Only pages that lead to more of their own family count, and one that gives something new sets
    its family's count to zero. So what lists or an index lead to is never left out, however much.
    """

    def __init__(self) -> None:
        self._fruitless: dict[int, int] = {}
        """By family, how many pages gave nothing new and led to it, since it last gave an item."""
        self._given: dict[int, None] = {}
        """The latest items, each with its family, as one number."""

    def going_nowhere(self, url: str, items: Iterable[Item], links: Sequence[str]) -> list[bool]:
        """For each of a page's links, all of them new, whether it is to be left out.

        To be called for every page, in the order of the ranks.
        """
        if not (links or self._fruitless):
            return []
        own = family(url)
        if not (links or own in self._fruitless):
            return []
        if self._gives_new_item(own, url, items):
            self._fruitless.pop(own, None)
            return [False] * len(links)
        families = [family(link) for link in links]
        others = dict.fromkeys(other for other in families if other != own)
        most = MAX_FRUITLESS * (1 if self._given else _PATIENCE_WITHOUT_ITEMS)
        is_stuck = self._fruitless.get(own, 0) >= most and not any(
            self._fruitless.get(other, 0) < most for other in others
        )
        for each in dict.fromkeys(families):
            if each != own or not is_stuck:
                self._fruitless[each] = self._fruitless.get(each, 0) + 1
        self._forget_families()
        return [is_stuck and each == own for each in families]

    def _gives_new_item(self, own: int, url: str, items: Iterable[Item]) -> bool:
        """Remembers the first item that is new, for one is enough."""
        own_url = json.dumps(url)[1:-1]
        known: set[int] = set()
        site = _host_and_path(url)[0]  # its numbers are the same in all items
        for number in map(int, _NUMBER.findall(url, len(site))):
            known.update((number - 1, number, number + 1))

        def without_known(number: re.Match[str]) -> str:
            return "0" if int(number[0]) in known else number[0]

        for item in items:
            text = json.dumps(item).replace(own_url, "")
            start = text[:_CHARACTERS]
            if known:
                start = _NUMBER.sub(without_known, start)
            mark = crc32(f"{start}{text[_CHARACTERS:]}".encode(), own)
            is_new = mark not in self._given
            self._given.pop(mark, None)
            self._given[mark] = None  # the last one now
            if is_new:
                if len(self._given) > _ITEMS:
                    del self._given[next(iter(self._given))]
                return True
        return False

    def _forget_families(self) -> None:
        if len(self._fruitless) > _FAMILIES:
            by_count = sorted(self._fruitless.items(), key=lambda pair: -pair[1])
            self._fruitless = dict(by_count[: _FAMILIES // 2])

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: a few tens of kilobytes at most."""
        return {"fruitless": list(self._fruitless.items()), "given": list(self._given)}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where an earlier session ended."""
        self._fruitless = dict(state["fruitless"])
        self._given = dict.fromkeys(state["given"])
