"""Follow-ups that wait for their rank: the next ones in memory, the others on disk."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from crawler.request import Request

MAX_IN_MEMORY = 10_000
"""The others are read when it is their turn."""

Turn = tuple[int, int]
"""What the order goes by, the lowest first: minus the priority, then the place in the journal."""

_BEFORE_ALL = (-(2**63), -1)


@dataclass(slots=True)
class FollowUp:
    """A follow-up that was committed and waits for its rank."""

    request: Request
    fingerprint: bytes
    depth: int
    is_in_scope: bool
    """Whether it was when it was found; it may have become so since."""
    parent: int | None = None
    """The rank of the page that linked here."""
    place: int = 0
    """In the journal, in the order of commit."""
    rank: int | None = None
    """The one it keeps, if it was put back to be fetched again."""

    @property
    def turn(self) -> Turn:
        """Its place in the order."""
        return -self.request.priority, self.place


class Backlog:
    """Gives out the follow-up whose turn is first.

    `read(turn, count)` reads those on disk that are behind `turn`, in order. All of them are on
    disk; a backlog that is `restored` has none in memory yet.
    """

    def __init__(self, read: Callable[[Turn, int], list[FollowUp]], *, restored: bool) -> None:
        self._read = read
        self._in_order: deque[tuple[Turn, FollowUp]] = deque()
        """Most come in the order of their turns."""
        self._early: list[tuple[Turn, FollowUp]] = []
        """A heap of those that didn't."""
        self._in_memory_to: Turn | None = _BEFORE_ALL if restored else None
        """What is behind this turn is on disk only; None if nothing is."""

    def add(self, follow_up: FollowUp) -> None:
        """Put one in its place: a new one, or one that was taken out too early."""
        turn = follow_up.turn
        if self._in_memory_to is not None and turn > self._in_memory_to:
            return
        if not self._in_order or turn > self._in_order[-1][0]:
            self._in_order.append((turn, follow_up))
        else:
            heapq.heappush(self._early, (turn, follow_up))
        if len(self._in_order) + len(self._early) > 2 * MAX_IN_MEMORY:
            first = heapq.merge(sorted(self._early), self._in_order)
            self._in_order = deque(islice(first, MAX_IN_MEMORY))
            self._early.clear()
            self._in_memory_to = self._in_order[-1][0]

    def take(self) -> FollowUp | None:
        """Take out the next one; it stays on disk until it is done."""
        while not (self._in_order or self._early):
            if self._in_memory_to is None:
                return None
            found = self._read(self._in_memory_to, MAX_IN_MEMORY)
            self._in_order.extend((each.turn, each) for each in found)
            self._in_memory_to = found[-1].turn if len(found) == MAX_IN_MEMORY else None
        if self._early and (not self._in_order or self._early[0][0] < self._in_order[0][0]):
            return heapq.heappop(self._early)[1]
        return self._in_order.popleft()[1]
