"""The requests not done yet: ready ones by host and rank, waiting ones by due time."""

from __future__ import annotations

import heapq

from crawler.entry import Entry
from crawler.politeness import Politeness


class Frontier:
    """Hands out the lowest rank whose host may be asked and whose time has come."""

    def __init__(self, politeness: Politeness) -> None:
        self._politeness = politeness
        self._by_host: dict[str, list[Entry]] = {}
        self._waiting: list[tuple[float, Entry]] = []
        self._void = 0

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._by_host.values()))

    @property
    def waiting(self) -> int:
        """How many wait for their own due time."""
        return len(self._waiting)

    def add(self, entry: Entry, due: float = 0.0) -> None:
        """Put in a new request, or one that must be tried again at `due`."""
        entry.due = due
        if due:
            heapq.heappush(self._waiting, (due, entry))
        else:
            heapq.heappush(self._by_host.setdefault(entry.host, []), entry)

    def discard(self, entry: Entry) -> None:
        """Nobody wants this entry any more; it stays in its place until that is cheap to change."""
        entry.is_void = True
        self._void += 1
        if self._void > max(1_000, len(self) // 2):
            self._compact()

    def _compact(self) -> None:
        self._waiting = [(due, entry) for due, entry in self._waiting if not entry.is_void]
        heapq.heapify(self._waiting)
        for name, queue in list(self._by_host.items()):
            kept = [entry for entry in queue if not entry.is_void]
            heapq.heapify(kept)
            if kept:
                self._by_host[name] = kept
            else:
                del self._by_host[name]
        self._void = 0

    def take(self, now: float, max_rank: float) -> Entry | None:
        """The lowest rank that may go now and is at most `max_rank`, or None."""
        while self._waiting and self._waiting[0][0] <= now:
            self.add(heapq.heappop(self._waiting)[1])
        self._forget_void()
        best = min(
            (
                queue[0]
                for host, queue in self._by_host.items()
                if queue[0].rank <= max_rank and self._politeness.ready_at(host) <= now
            ),
            default=None,
        )
        if best is not None:
            self._pop(best.host)
        return best

    def next_due(self, max_rank: float) -> float | None:
        """When the earliest request of at most that rank may go, or None if there is none."""
        times = [
            self._politeness.ready_at(host)
            for host, queue in self._by_host.items()
            if queue[0].rank <= max_rank
        ]
        times += [
            due for due, entry in self._waiting if entry.rank <= max_rank and not entry.is_void
        ]
        return min(times, default=None)

    def _forget_void(self) -> None:
        """Remove void entries where they would be next."""
        for name in [name for name, queue in self._by_host.items() if queue[0].is_void]:
            while name in self._by_host and self._by_host[name][0].is_void:
                self._pop(name)

    def _pop(self, name: str) -> None:
        queue = self._by_host[name]
        heapq.heappop(queue)
        if not queue:
            del self._by_host[name]
