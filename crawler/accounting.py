"""How the time of a crawl was spent, as shares of what its slots could have done.

A crawl of 10 s with 8 slots has 80 slot-seconds. A slot is at work on a page, or it is empty and
there is a reason for that. These are the shares, by name:

- `fetch`, `spider`: at work, as workers measure it. Both are the time that passes, so in threads,
  and in each worker process with several requests in flight, they include waiting for the
  interpreter's lock.
- `delay`, `per_host`, `backoff`: empty, since the hosts with requests rest as `delay` or their
  robots.txt ask, have as many requests in flight as they may, or are spared because they refuse or
  don't answer (`Retry-After` included).
- `order`: empty, since the window is full: a slow page before all others isn't there.
- `retry`: empty, since all that is left is to be tried again later.
- `empty`: no request was known. Pages in flight may give links, or be the last.
- `stop`: the crawl was told to stop, and pages in flight are waited for.
- `commit`: empty while the engine takes results in: steps, outputs, checkpoints.
- `start`: until the first worker was ready.
- `other`: on the way to workers and back, waiting for a seat, and with workers that died.

Empty slots are counted when the engine waits, not per request. Nothing here knows of stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Accounting:
    """Sums up the slot-seconds of one session. `busy` is always the number of slots at work."""

    def __init__(self, slots: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._clock = clock
        self._began = self._since = clock()
        self._free = 0
        self._why: Mapping[str, int] = {}
        self._fetch = self._spider = 0.0
        self._start: float | None = None
        """Slot-seconds until the first worker was ready; None while that isn't known."""
        self._idle: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Since the session began."""
        return self._clock() - self._began

    def begins(self) -> None:
        """The session begins now."""
        self._began = self._since = self._clock()

    def waits(self, busy: int, why: Mapping[str, int]) -> None:
        """The engine begins to wait; `why` are the reasons for empty slots, with their weights."""
        self._free, self._why = self._slots - busy, why
        self._since = self._clock()

    def wakes(self) -> None:
        """The engine ends to wait."""
        now = self._clock()
        if self._free and self._why:
            each = self._free * (now - self._since) / sum(self._why.values())
            for reason, weight in self._why.items():
                self._add(reason, each * weight)
        self._since = now

    def committed(self, busy: int) -> None:
        """The engine has taken in what was there when it woke."""
        now = self._clock()
        self._add("commit", (self._slots - busy) * (now - self._since))
        self._since = now

    def worked(self, busy: int, *, fetch: float, spider: float) -> None:
        """A worker spent so long on a request; `busy` includes this one."""
        self._fetch += fetch
        self._spider += spider
        if self._start is None:
            self._start = busy * max(0.0, self.seconds - fetch - spider) if fetch + spider else 0.0

    def _add(self, reason: str, slot_seconds: float) -> None:
        self._idle[reason] = self._idle.get(reason, 0.0) + slot_seconds

    def shares(self) -> dict[str, float]:
        """What part of all slot-seconds went where, the largest first; they sum to 1."""
        spent = {"fetch": self._fetch, "spider": self._spider, **self._idle}
        unknown = max(0.0, self._slots * self.seconds - sum(spent.values()))
        spent["start"] = min(unknown, self._start or 0.0)
        spent["other"] = unknown - spent["start"]
        return _shares(spent)


def combined(
    one: Mapping[str, float], seconds: float, other: Mapping[str, float], other_seconds: float
) -> dict[str, float]:
    """The shares of two sessions together, each with its seconds."""
    return _shares(
        {
            reason: one.get(reason, 0.0) * seconds + other.get(reason, 0.0) * other_seconds
            for reason in {**one, **other}
        }
    )


def _shares(spent: Mapping[str, float]) -> dict[str, float]:
    whole = sum(spent.values())
    # Sorted by name first, so that equal shares stand in the same order in every process.
    ordered = sorted(sorted(spent.items()), key=lambda pair: pair[1], reverse=True)
    return {reason: value / whole for reason, value in ordered if value > 0}
