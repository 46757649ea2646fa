"""Requests that have their rank and aren't committed yet, and which of them may lose it again."""

from __future__ import annotations

from collections import Counter

from crawler.entry import Entry


class Ranked:
    """Entries by rank. Start requests, and those of an earlier run, keep theirs."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._may_lose = Counter[int]()
        """How many may lose their rank, by priority. Mostly one priority has them all."""

    def add(self, entry: Entry) -> None:
        """It got its rank."""
        self._entries[entry.rank] = entry
        if not _keeps_its_rank(entry):
            self._may_lose[entry.request.priority] += 1

    def remove(self, rank: int) -> Entry:
        """It is committed, or loses its rank."""
        entry = self._entries.pop(rank)
        if not _keeps_its_rank(entry):
            priority = entry.request.priority
            self._may_lose[priority] -= 1
            if not self._may_lose[priority]:
                del self._may_lose[priority]
        return entry

    def remove_below(self, priority: int) -> list[Entry]:
        """Those that lose their rank to requests of that priority, in the order of their ranks."""
        if not self._may_lose or min(self._may_lose) >= priority:
            return []
        late = [
            rank
            for rank, entry in self._entries.items()
            if entry.request.priority < priority and not _keeps_its_rank(entry)
        ]
        return [self.remove(rank) for rank in sorted(late)]


def _keeps_its_rank(entry: Entry) -> bool:
    return entry.is_start or entry.is_again
