"""Where results wait for their commit: the reorder buffer, and what stands in without an order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from crawler.entry import Entry
from crawler.result import Result


def _any(_: Result) -> bool:
    return True


class Collector:
    """The reorder buffer: results come in any order and leave in the order of their ranks.

    `window` and `window_bytes` bound what is held: past them `max_rank` lets only the request go
    that everything waits for, so one slow page can't fill the memory.
    """

    def __init__(self, *, window: int, window_bytes: int) -> None:
        self._window = window
        self._window_bytes = window_bytes
        self._held: dict[int, tuple[Entry, Result]] = {}
        self._held_bytes = 0
        self._done = 0
        """Ranks that are committed."""
        self._undone: deque[int] = deque()
        """Ranks behind the head that earlier sessions left out, those behind them being done."""
        self.head = 0
        """The rank that is committed next."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def max_rank(self) -> float:
        """The highest rank that may be handed out now."""
        if len(self._held) >= self._window or self._held_bytes >= self._window_bytes:
            return self.head
        return self._done + self._window

    def resume(self, done: int, undone: Iterable[int]) -> None:
        """Go on where an earlier session ended: so many ranks are done; these, in order, aren't."""
        self._done = done
        self._undone = deque(undone)
        self._advance()

    def _advance(self) -> None:
        self.head = self._undone.popleft() if self._undone else self._done

    def hold(self, entry: Entry, result: Result) -> None:
        """Take a finished result in."""
        self._held[entry.rank] = (entry, result)
        self._held_bytes += result.body_bytes

    def holds(self, entry: Entry) -> bool:
        """Whether its result waits here."""
        held = self._held.get(entry.rank)
        return held is not None and held[0] is entry

    def has_room_for(self, results: int, size: int) -> bool:
        """Whether so much, held elsewhere besides, leaves room in the window."""
        return (
            len(self._held) + results < self._window
            and self._held_bytes + size < self._window_bytes
        )

    def take_back(self, rank: int) -> Result | None:
        """Take out the result of a rank that is another request's now."""
        _, result = self._held.pop(rank, (None, None))
        if result is not None:
            self._held_bytes -= result.body_bytes
        return result

    def forget_after(self, rank: int) -> None:
        """Drop what is held behind a rank: it isn't wanted any more."""
        for behind in [held for held in self._held if held > rank]:
            _, result = self._held.pop(behind)
            self._held_bytes -= result.body_bytes

    def ready(self, is_complete: Callable[[Result], bool] = _any) -> Iterator[tuple[Entry, Result]]:
        """Give out, in order, what is complete up to the first gap, or to what isn't."""
        while self.head in self._held and is_complete(self._held[self.head][1]):
            entry, result = self._held.pop(self.head)
            self._held_bytes -= result.body_bytes
            self._done += 1
            self._advance()
            yield entry, result


class CompletionCollector(Collector):
    """Gives results out as they come, for crawls that want no order: nobody waits for anybody."""

    @property
    def max_rank(self) -> float:
        """How far requests may be ahead of those committed; a slow one holds nobody up."""
        return self.head + self._window

    def resume(self, done: int, undone: Iterable[int]) -> None:  # noqa: ARG002  (in any order)
        """Go on where an earlier session ended: so many ranks are done."""
        self.head = done

    def ready(self, is_complete: Callable[[Result], bool] = _any) -> Iterator[tuple[Entry, Result]]:
        """Give out all that is here and complete; `head` counts them."""
        for rank, (entry, result) in list(self._held.items()):
            if not is_complete(result):
                continue
            del self._held[rank]
            self._held_bytes -= result.body_bytes
            self.head += 1
            yield entry, result
