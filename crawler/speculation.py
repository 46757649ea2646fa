"""Requests fetched before they have a rank, so that one slow page doesn't hold up the others.

A page's follow-ups are fetched as soon as it is there, although they get a rank only when it is
committed. Such an entry is claimed by the request that earns the rank, if it is the same in all
respects, or dropped. Nothing of it is journaled: after a crash it is fetched again.
"""

from __future__ import annotations

from crawler.entry import Entry
from crawler.frontier import Frontier
from crawler.request import Request
from crawler.result import Result

_UNRANKED = 2**62
"""Speculated entries come after all that have a rank: the highest priority first, then in the order
in which they were found."""
_MAX_ENTRIES = 5_000


class Speculation:
    """Entries without a rank, by fingerprint; those not fetched yet stand in the frontier too."""

    def __init__(self, frontier: Frontier) -> None:
        self._frontier = frontier
        self._entries: dict[bytes, Entry] = {}
        self._found = 0
        self.results = 0
        """Results that wait for their rank."""
        self.body_bytes = 0
        """Bytes of the pages they came from."""

    def __contains__(self, mark: bytes) -> bool:
        return mark in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        """Whether there is enough to do."""
        return len(self._entries) >= _MAX_ENTRIES

    def add(self, request: Request, mark: bytes, *, depth: int, attempts: int) -> None:
        """Have a request fetched whose rank nobody knows yet."""
        entry = Entry(0, request, depth=depth, fingerprint=mark, attempts=attempts)
        self._enter(entry)
        self._frontier.add(entry)

    def _enter(self, entry: Entry) -> None:
        self._found += 1
        entry.rank = _UNRANKED + (-entry.request.priority + 2**32) * 2**62 + self._found
        self._entries[entry.fingerprint] = entry

    def take_back(self, entry: Entry, result: Result | None) -> None:
        """Keep an entry that lost its rank, and its result if it is there."""
        if entry.fingerprint in self._entries:  # it was asked for twice
            self._give_up(entry)
        elif result is not None:
            self._enter(entry)
            self.finished(entry, result)
        elif entry.is_in_flight:
            self._enter(entry)
        else:
            self._frontier.discard(entry)
            again = _copy(entry)
            self._enter(again)
            self._frontier.add(again, again.due)

    def _give_up(self, entry: Entry) -> None:
        if entry.result is None and not entry.is_in_flight:
            self._frontier.discard(entry)
        entry.is_void = True

    def finished(self, entry: Entry, result: Result) -> bool:
        """Keep the result of an entry that has no rank yet; False if it has one."""
        if entry.rank < _UNRANKED:
            return False
        entry.result = result
        self.results += 1
        self.body_bytes += result.body_bytes
        return True

    def claim(self, request: Request, mark: bytes) -> Entry | None:
        """The entry of a request that earned its rank; None if there is none that is the same.

        If it stands in the frontier it is taken out there: its rank is going to change.
        """
        entry = self._entries.get(mark)
        if entry is None:
            return None
        if not _is_same(entry.request, request) or _depends_on_scope(entry.result):
            self.drop(mark)
            return None
        del self._entries[mark]
        self._release(entry)
        if entry.result is not None or entry.is_in_flight:
            return entry
        self._frontier.discard(entry)
        return _copy(entry)

    def drop(self, mark: bytes) -> None:
        """Nobody wants it any more."""
        entry = self._entries.pop(mark, None)
        if entry is not None:
            self._release(entry)
            self._give_up(entry)
            entry.result = None

    def _release(self, entry: Entry) -> None:
        if entry.result is not None:
            self.results -= 1
            self.body_bytes -= entry.result.body_bytes


def _copy(entry: Entry) -> Entry:
    """One that can get another rank: the entry itself stands in the frontier under its own."""
    return Entry(
        0,
        entry.request,
        attempts=entry.attempts,
        depth=entry.depth,
        fingerprint=entry.fingerprint,
        moved_to=entry.moved_to,
        due=entry.due,
    )


def _depends_on_scope(result: Result | None) -> bool:
    """Whether it may be another one since another start request became known."""
    return result is not None and result.failure is not None and result.failure.kind == "address"


def _is_same(one: Request, other: Request) -> bool:
    """In all that the spider can see: 1, True and 1.0 are equal, but not the same."""
    return one == other and repr(one.meta) == repr(other.meta)
