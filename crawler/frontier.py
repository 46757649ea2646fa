"""The requests not done yet: those of each host by rank, the hosts by what they wait for.

A host with requests stands in one of three places:

- ready: in a heap by its lowest rank, to be taken unless politeness says otherwise;
- resting: in a heap by the time when it may be asked again;
- at its limit: in none, until `freed` says that one of its requests came back.

Heaps are corrected late: what is out of date in them is recognised and dropped when it comes up. So
adding and taking cost the logarithm of the number of hosts and requests, however many rest.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from crawler.entry import Entry
from crawler.politeness import Politeness

_FEW = 1_000
T = TypeVar("T")


class _HostQueue:
    """A host's requests by rank, and where the host stands."""

    __slots__ = ("aside_for", "entries", "ready_as", "rests_until")

    def __init__(self) -> None:
        self.entries: list[tuple[int, Entry]] = []
        self.ready_as: float | None = math.inf  # politeness is asked when it is its turn
        """The rank under which it stands among the ready ones."""
        self.rests_until: float | None = None
        """The time under which it stands among the resting ones."""
        self.aside_for = ""
        """Why it isn't among the ready ones."""


class Frontier:
    """Hands out the lowest rank whose host may be asked and whose time has come."""

    def __init__(self, politeness: Politeness) -> None:
        self._politeness = politeness
        self._hosts: dict[str, _HostQueue] = {}
        self._ready: list[tuple[float, str]] = []
        self._resting: list[tuple[float, str]] = []
        self._waiting: list[tuple[float, int, Entry]] = []
        self._queued = 0
        """Entries in queues of hosts."""
        self._void = 0
        """Discarded entries among all."""
        self._aside: Counter[str] = Counter()
        """Hosts that aren't ready, by what is waited for."""

    def __len__(self) -> int:
        return len(self._waiting) + self._queued

    @property
    def waiting(self) -> int:
        """How many wait for their own due time."""
        return len(self._waiting)

    @property
    def reasons(self) -> dict[str, int]:
        """Why `take` gave nothing: hosts by what is waited for.

        See `Politeness.why_not_ready`; `order` for those whose requests all have too high a rank.
        """
        reasons = {reason: count for reason, count in self._aside.items() if count}
        ready = len(self._hosts) - sum(reasons.values())
        return {**reasons, "order": ready} if ready else reasons

    def add(self, entry: Entry, due: float = 0.0) -> None:
        """Put in a new request, or one that must be tried again at `due`."""
        entry.due = due
        if due:
            heapq.heappush(self._waiting, (due, entry.rank, entry))
        else:
            self._queue(entry)

    def _queue(self, entry: Entry) -> None:
        host = entry.host
        queue = self._hosts.get(host)
        if queue is None:
            queue = self._hosts[host] = _HostQueue()
        heapq.heappush(queue.entries, (entry.rank, entry))
        self._queued += 1
        if queue.ready_as is not None and entry.rank < queue.ready_as:
            self._make_ready(host, queue)

    def discard(self, entry: Entry) -> None:
        """Nobody wants this entry any more; it stays in its place until that is cheap to change."""
        entry.is_void = True
        self._void += 1
        if self._void > max(_FEW, len(self) // 2):
            self._compact()

    def _compact(self) -> None:
        entries = [entry for _, _, entry in self._waiting]
        for queue in self._hosts.values():
            entries += [entry for _, entry in queue.entries]
        for place in (self._waiting, self._ready, self._resting, self._hosts):
            place.clear()
        self._aside.clear()
        self._queued = self._void = 0
        for entry in entries:
            if not entry.is_void:
                self.add(entry, entry.due)

    def freed(self, host: str) -> None:
        """A request to the host came back, so that more may be possible now."""
        queue = self._hosts.get(host)
        if queue is None or queue.ready_as is not None:
            return
        if queue.rests_until is None or self._politeness.ready_at(host) < queue.rests_until:
            queue.rests_until = None
            self._bring_back(host, queue)

    def take(self, now: float, max_rank: float) -> Entry | None:
        """The lowest rank that may go now and is at most `max_rank`, or None."""
        while self._waiting and self._waiting[0][0] <= now:
            entry = heapq.heappop(self._waiting)[2]
            if entry.is_void:
                self._forget_void()
            else:
                entry.due = 0.0
                self._queue(entry)
        self._wake(now)
        while (host := self._first_ready()) is not None:
            queue = self._hosts[host]
            if queue.entries[0][0] > max_rank:
                return None
            ready_at = self._politeness.ready_at(host)
            if ready_at <= now:
                return self._pop(host, queue)
            self._set_aside(host, queue, ready_at)
        return None

    def next_due(self, max_rank: float) -> float | None:
        """When the earliest request of at most that rank may go, or None.

        None means that there is none, or that one in flight must come back first. When the time has
        come, it may turn out that the host must rest longer.
        """
        host = self._first_ready()
        if host is not None and self._hosts[host].entries[0][0] <= max_rank:
            return 0.0
        rests = (
            time
            for time, host in _ascending(self._resting)
            if self._is_resting(host, time) and self._hosts[host].entries[0][0] <= max_rank
        )
        waits = (
            due
            for due, rank, entry in _ascending(self._waiting)
            if rank <= max_rank and not entry.is_void
        )
        due = min(next(rests, math.inf), next(waits, math.inf))
        return None if due == math.inf else due

    def _is_resting(self, host: str, until: float) -> bool:
        queue = self._hosts.get(host)
        return queue is not None and queue.rests_until == until

    def _wake(self, now: float) -> None:
        """Let hosts go whose rest is over."""
        while self._resting and self._resting[0][0] <= now:
            until, host = heapq.heappop(self._resting)
            if self._is_resting(host, until):
                queue = self._hosts[host]
                queue.rests_until = None
                self._bring_back(host, queue)

    def _bring_back(self, host: str, queue: _HostQueue) -> None:
        """Put a host that was set aside among the ready ones."""
        self._aside[queue.aside_for] -= 1
        self._make_ready(host, queue)

    def _make_ready(self, host: str, queue: _HostQueue) -> None:
        queue.ready_as = queue.entries[0][0]
        heapq.heappush(self._ready, (queue.ready_as, host))

    def _set_aside(self, host: str, queue: _HostQueue, ready_at: float) -> None:
        """Take the first of the ready hosts out: it rests, or is at its limit."""
        heapq.heappop(self._ready)
        queue.ready_as = None
        queue.aside_for = self._politeness.why_not_ready(host)
        self._aside[queue.aside_for] += 1
        if ready_at < math.inf:
            queue.rests_until = ready_at
            heapq.heappush(self._resting, (ready_at, host))

    def _first_ready(self) -> str | None:
        """The ready host with the lowest rank, which is one that somebody wants."""
        while self._ready:
            rank, host = self._ready[0]
            queue = self._hosts.get(host)
            if queue is None or queue.ready_as != rank:
                heapq.heappop(self._ready)  # out of date
            elif queue.entries[0][1].is_void:
                self._forget_void()
                self._pop(host, queue)
            else:
                return host
        return None

    def _pop(self, host: str, queue: _HostQueue) -> Entry:
        """Take the first entry of the first of the ready hosts."""
        entry = heapq.heappop(queue.entries)[1]
        self._queued -= 1
        if queue.entries:
            queue.ready_as = queue.entries[0][0]
            heapq.heapreplace(self._ready, (queue.ready_as, host))
        else:
            heapq.heappop(self._ready)
            del self._hosts[host]
        return entry

    def _forget_void(self) -> None:
        self._void = max(0, self._void - 1)  # entries are also made void without being discarded


def _ascending(heap: list[T]) -> Iterator[T]:
    """The elements of a heap in their order, at the cost of those that are looked at."""
    places: list[tuple[T, int]] = [(heap[0], 0)] if heap else []
    while places:
        element, index = heapq.heappop(places)
        yield element
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(heap):
                heapq.heappush(places, (heap[child], child))
