"""How far a map is: counts, and their display for those who asked for it."""

from __future__ import annotations

import math
import time

from crawler.display import Display
from crawler.wording import duration, plural


class Tally:
    """Counts of calls; a `Standing` of `crawler.display`. One thread writes, others may look."""

    def __init__(self, total: int | None = None, *, is_shown: bool = False) -> None:
        self.total = total
        """Inputs that there are, or None as long as nobody knows."""
        self.done = 0
        """Calls that came to their end, failed ones included."""
        self.failed = 0
        self.retries = 0
        self.over = False
        self._is_shown = is_shown
        self._began = 0.0
        self._display: Display[Tally] | None = None

    @property
    def arrived(self) -> int:
        """What the pace counts."""
        return self.done

    @property
    def elapsed(self) -> float:
        """Seconds since the first result was asked for."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Work begins, unless it has already."""
        if self._is_shown and self._display is None and not self.over:
            self._began = time.monotonic()
            self._display = Display(lambda: self, sentence)

    def end(self, *, wait: bool) -> None:
        """There will be no more calls."""
        self.over = True
        display, self._display = self._display, None
        if display is not None:
            display.close(wait=wait)


def sentence(tally: Tally, rate: float | None) -> str:
    """Where a map is: `12/40 done, 1 failed, 2 retries, 3.2/s, 9 s left`; `12/? done`."""
    total = tally.total
    parts = [f"{tally.done}/{'?' if total is None else total} done"]
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    if tally.retries:
        parts.append(plural(tally.retries, "retry", "retries"))
    if rate is not None:
        parts.append(f"{rate:.1f}/s")
    if tally.over:
        parts.append(f"in {duration(tally.elapsed)}")
    elif rate and total is not None and total > tally.done:
        parts.append(f"{duration(math.ceil((total - tally.done) / rate))} left")
    return ", ".join(parts)
