"""One thread at a time, for work from which several at a time gain nothing.

Pure Python runs in one thread at a time anyway, by its global lock (the GIL). Work that gives the
lock away and takes it again for every little step, in many threads at once, spends most of its time
on that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Gives threads their turns, one after the other.

    Whoever takes longer than `longest` seconds keeps nobody waiting: others go on beside it.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._lock = threading.Lock()
        self._began = time.monotonic()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and have it for the block."""
        has_turn = self._lock.acquire(blocking=False)
        while not has_turn and (left := self._began + self._longest - time.monotonic()) > 0:
            has_turn = self._lock.acquire(timeout=left)
        if not has_turn:
            yield
            return
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._lock.release()
