"""A run's progress in words, and on stderr."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from crawler.display import INTERVAL, Display, Kind
from crawler.wording import duration, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crawler.progress import Block, Snapshot


def sentence(snapshot: Snapshot, rate: float | None) -> str:
    """Where a run is: `12/40 pages, 300 items, 1 failed, 3.2 pages/s, 9 s left`."""
    totals = snapshot.totals
    parts = [
        f"{totals.done}/{plural(totals.known, 'page')}"
        if totals.known >= 0
        else plural(totals.done, "page"),
        plural(totals.items, "item"),
    ]
    if totals.failures:
        parts.append(f"{totals.failures} failed")
    if totals.retries:
        parts.append(plural(totals.retries, "retry", "retries"))
    if rate is not None:
        parts.append(f"{rate:.1f} pages/s")
    left = totals.known - totals.done - totals.held
    if snapshot.over:
        parts.append(f"in {duration(snapshot.elapsed)}")
    elif rate and left > 0:
        parts.append(f"{duration(math.ceil(left / rate))} left")
    return ", ".join(parts)


@contextmanager
def display(
    block: Block, kind: Kind = "auto", stream: TextIO | None = None, *, interval: float = INTERVAL
) -> Iterator[Display[Snapshot]]:
    """Show a run while the context lasts; the block has to stay open for as long.

    The end of the run is shown as such if its state is set before the context ends.
    """
    shown = Display(block.read, sentence, kind, stream, interval=interval)
    try:
        yield shown
    finally:
        shown.close()
